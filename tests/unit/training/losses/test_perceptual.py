import dataclasses
import json
import logging
import re
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mggtalk.errors import WeightsError
from mggtalk.models.predictor import TalkingHeadPredictor
from mggtalk.training.config import LossWeights, TrainConfig
from mggtalk.training.loop import make_loader
from mggtalk.training.losses.perceptual import PerceptualDistance, find_network, make_perceptual
from mggtalk.training.losses.training_loss import TrainingStep
from mggtalk.weights.hub_models import folder_digest
from tests.support.tiny_networks import DEVIATION, MEAN, save_feature_network
from tests.unit.models.small import small_model
from tests.unit.training.small import ALONE, run, small_training

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_feature_network(tmp_path_factory.mktemp("resnet"))


@pytest.fixture(scope="module")
def perceptual(folder: Path) -> PerceptualDistance:
    return PerceptualDistance(folder, CPU)


def noise(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def whole(count: int) -> Tensor:
    return torch.ones(count, 1, 32, 32)


def weighted(folder: Path, weight: float = 0.1) -> LossWeights:
    return dataclasses.replace(small_training().loss, perceptual=weight, perceptual_network=str(folder))


def training(folder: Path, **changes: object) -> TrainConfig:
    return small_training(loss=weighted(folder), **changes)


def test_equal_images_are_at_no_distance_and_it_grows_with_the_difference(perceptual):
    truth = noise(2)
    assert float(perceptual.distance([truth], truth, whole(2))) == 0
    near, far = (
        float(perceptual.distance([truth + scale * (noise(2, 1) - 0.5)], truth, whole(2))) for scale in (0.1, 0.5)
    )
    assert 0 < 3 * near < far


def test_it_is_the_distance_of_the_library_s_features(perceptual, folder):
    from transformers import ResNetModel

    network = ResNetModel.from_pretrained(folder).eval()
    images, truth = noise(1, 1), noise(1)
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, DEVIATION))
    with torch.no_grad():
        ours, theirs = (
            network((image - mean) / deviation, output_hidden_states=True).hidden_states for image in (images, truth)
        )
    assert [features.shape[1] for features in ours] == [4, 4, 8, 8, 8]
    expected = 0.0
    for left, right in zip(ours, theirs, strict=True):
        cosine = torch.nn.functional.cosine_similarity(left, right, dim=1)
        expected += float((2 - 2 * cosine).mean())  # of vectors of length 1
    assert float(perceptual.distance([images], truth, whole(1))) == pytest.approx(expected, rel=1e-4)


def test_the_gradient_reaches_the_images_and_descent_brings_them_nearer(perceptual):
    truth, image = noise(1), noise(1, 1).requires_grad_()
    before = perceptual.distance([image], truth, whole(1))
    before.backward()
    assert image.grad is not None
    assert (image.grad.abs().amax(dim=(0, 1)) > 0).float().mean() > 0.9
    step = 0.01 * image.grad / image.grad.norm()
    assert float(perceptual.distance([image.detach() - step], truth, whole(1))) < before.item()


def test_black_images_have_a_gradient_that_is_a_number(perceptual):
    image = torch.zeros(1, 3, 32, 32, requires_grad=True)
    perceptual.distance([image], noise(1), whole(1)).backward()
    assert image.grad is not None
    assert image.grad.isfinite().all()


def test_pixels_that_are_not_valid_do_not_count(perceptual):
    valid = whole(2)
    valid[..., 24:] = 0
    images, truth = noise(2, 1), noise(2)
    distance = perceptual.distance([images], truth, valid)
    spoiled = images * valid + noise(2, 2) * (1 - valid), truth * valid + noise(2, 3) * (1 - valid)
    assert perceptual.distance([spoiled[0]], spoiled[1], valid) == distance
    assert perceptual.distance([spoiled[0]], spoiled[1], whole(2)) != distance
    nothing = perceptual.distance([images], truth, torch.zeros_like(valid))
    assert float(nothing) == 0


def test_the_distance_of_batches_is_the_mean_over_images_and_the_sum_over_renders(perceptual):
    """So that two workers with an image each learn what one worker with both would."""
    valid = whole(2)
    valid[1, ..., 8:] = 0
    renders, truth = [noise(2, 1), noise(2, 2)], noise(2)
    alone = [
        float(perceptual.distance([render[at : at + 1]], truth[at : at + 1], valid[at : at + 1]))
        for render in renders
        for at in range(2)
    ]
    assert float(perceptual.distance(renders, truth, valid)) == pytest.approx(sum(alone) / 2, rel=1e-4)


@pytest.mark.parametrize("coarse", [False, True])
def test_the_term_judges_the_images_of_the_other_terms_and_is_part_of_the_total(shards, folder, coarse):
    settings = training(folder, batch_size=2)
    perceptual = make_perceptual(settings.loss, CPU)
    assert perceptual is not None
    step = TrainingStep(TalkingHeadPredictor(small_model()), settings.loss, perceptual)
    source, driver, target, tracks = make_loader(settings, shards, ALONE).load(0).batch.unpack(CPU)
    with torch.no_grad():
        parts = step(source, driver, target, tracks, coarse=coarse)
        plain = TrainingStep(step.predictor, settings.loss)(source, driver, target, tracks, coarse=coarse)
        _, images = step.predictor(source, driver, coarse=coarse)
    head = target.image * target.head_mask
    expected = float(perceptual.distance([images.coarse], head, target.valid))
    if not coarse:
        expected += float(perceptual.distance([images.head], head, target.valid))
        expected += float(perceptual.distance([images.image], target.image, target.valid))
    assert float(parts["perceptual"]) == pytest.approx(expected, rel=1e-4)
    assert float(parts["total"] - plain["total"]) == pytest.approx(0.1 * expected, rel=1e-3)
    assert set(parts) - set(plain) == {"perceptual"}


def test_the_network_is_neither_trained_nor_kept(shards, folder):
    settings = training(folder, batch_size=2)
    perceptual = make_perceptual(settings.loss, CPU)
    assert perceptual is not None
    with_term = TrainingStep(TalkingHeadPredictor(small_model()), settings.loss, perceptual)
    without = TrainingStep(TalkingHeadPredictor(small_model()), settings.loss)
    assert with_term.state_dict().keys() == without.state_dict().keys()
    assert len(list(with_term.parameters())) == len(list(without.parameters()))
    assert not perceptual._network.training
    before = {name: value.clone() for name, value in perceptual._network.state_dict().items()}
    with_term.train()(*make_loader(settings, shards, ALONE).load(0).batch.unpack(CPU))["total"].backward()
    assert all(torch.equal(before[name], value) for name, value in perceptual._network.state_dict().items())
    assert all(parameter.grad is None for parameter in perceptual._network.parameters())


def test_a_classifier_on_top_is_left_out_without_a_word(folder, caplog):
    library = logging.getLogger("transformers")  # which hands nothing on
    library.addHandler(caplog.handler)
    try:
        PerceptualDistance(folder, CPU)
    finally:
        library.removeHandler(caplog.handler)
    assert caplog.records == []


def test_without_a_weight_nothing_is_looked_at():
    weights = weighted(Path("/nowhere/at/all"), 0.0)
    assert find_network(weights) is None
    assert make_perceptual(weights, CPU) is None


def test_the_network_is_named_with_the_hash_of_its_files(folder):
    found = find_network(weighted(folder))
    assert found is not None
    assert found.sha256 == folder_digest(folder)


def test_a_network_that_was_not_fetched_is_an_error_that_says_how(tmp_path, monkeypatch, shards):
    monkeypatch.setenv("MGGTALK_CACHE", str(tmp_path))
    weights = dataclasses.replace(weighted(tmp_path), perceptual_network="resnet_18")
    message = r"train\.loss\.perceptual_network: model 'resnet_18' is missing: .* run `mggtalk models fetch resnet_18`"
    with pytest.raises(WeightsError, match=message):
        find_network(weights)
    with pytest.raises(WeightsError, match=message):
        run(small_training(loss=weights), shards)


def test_a_network_of_another_kind_is_refused(tmp_path, folder):
    other = tmp_path / "other"
    other.mkdir()
    for path in folder.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    (other / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(WeightsError, match=r"perceptual_network: .*model_type is 'bert', expected 'resnet'"):
        find_network(weighted(other))


def test_without_the_library_the_error_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(WeightsError, match=re.escape("pip install -c constraints.txt '.[networks]'")):
        find_network(weighted(folder))
