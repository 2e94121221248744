from tests.unit.shards.conftest import write_dataset

__all__ = ["write_dataset"]
