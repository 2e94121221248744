import json
from pathlib import Path

import pytest
import torch

from mggtalk.errors import StageError
from mggtalk.models.checkpoint import CONFIG_NAME, WEIGHTS_NAME, dump_predictor, load_predictor
from mggtalk.models.networks.layers import cast_weights_bf16
from mggtalk.models.predictor import TalkingHeadPredictor
from tests.unit.models.small import driver_and_target, perturb, small_predictor, source_batch


def trained_predictor() -> TalkingHeadPredictor:
    predictor = small_predictor()
    perturb(predictor, scale=0.05)
    return predictor.eval()


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    for name, data in dump_predictor(trained_predictor(), {"seed": 3}).items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


@torch.no_grad()
def test_loaded_predictor_draws_the_same_images(model_folder):
    source, (driver, _) = source_batch([(0, 25.0, (0.0, 0.0))]), driver_and_target([(0, 0.0, (1.0, 0.0))])
    _, before = trained_predictor()(source, driver)
    loaded = load_predictor(model_folder)
    assert not loaded.training
    _, after = loaded(source, driver)
    assert torch.equal(after.image, before.image)
    _, untrained = small_predictor()(source, driver)
    assert not torch.allclose(untrained.image, before.image, atol=1e-2)


def test_equal_predictors_give_equal_bytes():
    first = dump_predictor(trained_predictor(), {"b": 1, "a": [2.5]})
    second = dump_predictor(trained_predictor(), {"a": [2.5], "b": 1})
    assert first == second
    assert set(first) == {WEIGHTS_NAME, CONFIG_NAME}
    assert dump_predictor(small_predictor(seed=1), {})[WEIGHTS_NAME] != first[WEIGHTS_NAME]


def test_config_says_what_the_weights_came_from(model_folder):
    content = json.loads((model_folder / CONFIG_NAME).read_text())
    assert content["training"] == {"seed": 3}
    assert content["model"]["resolution"] == 32


def edit_config(folder: Path, **changes: object) -> None:
    content = json.loads((folder / CONFIG_NAME).read_text())
    (folder / CONFIG_NAME).write_text(json.dumps(content | changes))


@pytest.mark.parametrize("version", [1, 8, None])
def test_other_formats_are_refused_and_the_error_says_what_to_do(model_folder, version):
    edit_config(model_folder, version=version)
    message = rf"config\.json: model format {version}, expected 9; train again with `python -m pipelines\.train`"
    with pytest.raises(StageError, match=message):
        load_predictor(model_folder)


def test_configuration_of_another_size_is_refused(model_folder):
    settings = json.loads((model_folder / CONFIG_NAME).read_text())["model"]
    edit_config(model_folder, model=settings | {"hidden_channels": 8})
    with pytest.raises(StageError, match=r"model\.safetensors: weights do not fit config\.json"):
        load_predictor(model_folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resolution": 30}, "resolution 30"),
        ({"feature_channels": 6}, "feature_channels"),
        ({"depth": 1}, "unknown key 'depth'"),
    ],
)
def test_configuration_that_cannot_be_is_refused(model_folder, change, message):
    settings = json.loads((model_folder / CONFIG_NAME).read_text())["model"]
    edit_config(model_folder, model=settings | change)
    with pytest.raises(StageError, match=message):
        load_predictor(model_folder)


def test_truncated_weights_are_refused(model_folder):
    data = (model_folder / WEIGHTS_NAME).read_bytes()
    for size in (len(data) - 1, len(data) // 2, 4, 0):
        (model_folder / WEIGHTS_NAME).write_bytes(data[:size])
        with pytest.raises(StageError, match=r"model\.safetensors"):
            load_predictor(model_folder)


@pytest.mark.parametrize("name", [WEIGHTS_NAME, CONFIG_NAME])
def test_missing_file_is_named(model_folder, name):
    (model_folder / name).unlink()
    with pytest.raises(StageError, match=rf"{name}: no such file"):
        load_predictor(model_folder)


def test_weights_that_are_rounded_for_inference_are_not_stored():
    predictor = small_predictor()
    cast_weights_bf16(predictor)
    with pytest.raises(ValueError, match="rounded for inference"):
        dump_predictor(predictor, {})
