from tests.unit.training.conftest import one_thread, shards

__all__ = ["one_thread", "shards"]
