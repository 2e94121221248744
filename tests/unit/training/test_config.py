import dataclasses
from typing import Any

import pytest

from mggtalk.config import validate
from mggtalk.errors import ParamsError
from mggtalk.training.config import TrainConfig
from tests.unit.training.small import small_training


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
        ("on_corrupt_sample", {"on_corrupt_sample": "ignore"}),
        ("seed", {"seed": -1}),
        ("learning_rate", {"learning_rate": "fast"}),
        ("learning_rates", {"learning_rates": 1.0}),
        ("loss.ssim", {"loss": {"ssim": None, "alpha": 0.1, "landmarks": 0.5, "depth_offset": 0.01}}),
        ("augment.zoom", {"augment": values()["augment"] | {"zoom": -0.1}}),
        ("augment.roll_deg", {"augment": values()["augment"] | {"roll_deg": 90.0}}),
        ("augment.shift", {"augment": values()["augment"] | {"shift": 0.5}}),
        ("resolution", {"model": values()["model"] | {"resolution": 36}}),
    ],
)
def test_values_that_do_not_fit_are_refused_by_name(key, changes):
    with pytest.raises(ParamsError, match=rf"params\.yaml: train.*{key}"):
        validate(values(**changes), TrainConfig, "params.yaml: train")


def test_geometry_that_stops_while_the_rate_still_rises_is_refused():
    small_training(steps=10, warmup_steps=4, geometry_fraction=0.5)
    small_training(steps=2, warmup_steps=4, geometry_fraction=1.0)
    with pytest.raises(ValueError, match=r"geometry_fraction 0\.5: 2 of 4 steps, expected more than the 4"):
        small_training(steps=4, warmup_steps=4, geometry_fraction=0.5)


def test_course_of_a_run_does_not_depend_on_processes_and_threads():
    settings = small_training(batch_size=4, track_pairs=4)
    other = dataclasses.replace(settings, workers=2, loader_workers=3)
    assert other.course() == settings.course()
    for another in (small_training(seed=1), small_training(batch_size=8), small_training(steps=9)):
        assert another.course() != settings.course()
