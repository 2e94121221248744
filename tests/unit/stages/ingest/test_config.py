import pytest

from mggtalk.config import validate
from mggtalk.errors import ParamsError
from mggtalk.stages.ingest.config import IngestConfig


@pytest.mark.parametrize(("key", "value"), [("val_fraction", -0.1), ("test_fraction", 1.0), ("recipe", 3)])
def test_config_values_out_of_range_are_errors(key: str, value: object) -> None:
    values = {"recipe": "r", "watch": "w", "val_fraction": 0.1, "test_fraction": 0.1, key: value}
    with pytest.raises(ParamsError, match=key):
        validate(values, IngestConfig, "params.yaml: ingest")


@pytest.mark.parametrize(("val", "test"), [(0.6, 0.5), (0.01, 0.999)])
def test_parts_larger_than_the_whole_are_an_error(val: float, test: float) -> None:
    values = {"recipe": "r", "watch": "w", "val_fraction": val, "test_fraction": test}
    with pytest.raises(ParamsError, match=r"val_fraction \+ test_fraction: .* is more than 1"):
        validate(values, IngestConfig, "params.yaml: ingest")
    assert validate(values | {"val_fraction": 1 - test}, IngestConfig, "params.yaml: ingest").test_fraction == test
