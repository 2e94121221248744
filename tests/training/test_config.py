import dataclasses
from typing import Any

import pytest

from mggtalk.errors import ParamsError
from mggtalk.params import validate
from mggtalk.training.config import TrainConfig
from tests.training.small import small_training


def values(**changes: Any) -> dict[str, Any]:
    return dataclasses.asdict(small_training()) | changes


def test_values_that_fit_are_taken():
    assert validate(values(), TrainConfig, "params.yaml: train") == small_training()


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("batch_size", {"workers": 2, "batch_size": 3}),
        ("track_pairs", {"workers": 2, "track_pairs": 5}),
        ("workers", {"workers": 0}),
        ("steps", {"steps": 0}),
        ("log_every", {"log_every": 0}),
        ("checkpoint_every", {"checkpoint_every": -1}),
        ("loader_workers", {"loader_workers": -1}),
        ("on_damage", {"on_damage": "ignore"}),
        ("seed", {"seed": -1}),
        ("learning_rate", {"learning_rate": "fast"}),
        ("learning_rates", {"learning_rates": 1.0}),
        ("loss.ssim", {"loss": {"ssim": None, "alpha": 0.1, "landmarks": 0.5, "depth_offset": 0.01}}),
        ("resolution", {"model": values()["model"] | {"resolution": 36}}),
    ],
)
def test_values_that_do_not_fit_are_refused_by_name(key, changes):
    with pytest.raises(ParamsError, match=rf"params\.yaml: train.*{key}"):
        validate(values(**changes), TrainConfig, "params.yaml: train")
