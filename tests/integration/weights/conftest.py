from tests.unit.weights.conftest import cache, index

__all__ = ["cache", "index"]
