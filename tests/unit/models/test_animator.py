import copy

import pytest
import torch

from mggtalk.models.animator import Animator
from tests.support.operations import WAITING, Operations
from tests.unit.models.small import driver_and_target, perturb, small_predictor, source_batch

CALM = (0.0, 0.0)


@torch.no_grad()
def test_animator_gives_the_predictor_s_images_frame_after_frame():
    predictor = small_predictor()
    perturb(predictor, scale=0.05)
    source = source_batch([(0, 20.0, CALM), (1, -30.0, CALM)])
    avatar = predictor.reconstruct(source)
    animator = Animator(predictor, avatar)
    for face in ((1.0, 0.0), (0.0, 0.7)):
        driver, _ = driver_and_target([(0, 0.0, face), (1, 10.0, face)])
        expected = predictor.compose(avatar, predictor.animate(avatar, driver.expression), driver)
        assert torch.equal(animator(driver), expected)


@torch.no_grad()
def test_nothing_that_a_cuda_graph_cannot_record():
    predictor = small_predictor()
    source, (driver, _) = source_batch([(0, 20.0, CALM)]), driver_and_target([(0, 0.0, (1.0, 0.0))])
    avatar = predictor.reconstruct(source)
    rendered, alpha = predictor.render(predictor.densify(avatar, predictor.animate(avatar, driver.expression)), driver)
    with Operations() as recorded:
        predictor.densify(avatar, predictor.animate(avatar, driver.expression))
        predictor.inpaint(avatar, rendered, alpha, predictor.render_condition_masks(avatar, driver), driver.expression)
    assert "aten.index_put.default" in recorded.names
    assert recorded.names & WAITING == set()


@pytest.mark.gpu
@torch.no_grad()
def test_graphs_on_a_gpu_give_the_images_of_the_launched_operations():
    predictor = small_predictor(64)
    perturb(predictor, scale=0.02)
    predictor.cuda()
    source = source_batch([(0, 20.0, CALM), (1, -30.0, CALM)], size=64).to("cuda")
    avatar = predictor.reconstruct(source)
    animator = Animator(predictor, avatar)
    for face in ((1.0, 0.0), (0.0, 0.7)):
        driver = driver_and_target([(0, 0.0, face), (1, 10.0, face)], size=64)[0].to("cuda")
        launched = predictor.compose(avatar, predictor.animate(avatar, driver.expression), driver)
        assert (animator(driver) - launched).abs().max() < 1e-3


@pytest.mark.gpu
@torch.no_grad()
def test_weights_that_are_rounded_once_give_the_images_of_those_that_every_pass_rounds():
    predictor = small_predictor(64)
    perturb(predictor, scale=0.02)
    rounded = copy.deepcopy(predictor).for_inference("cuda")
    predictor.cuda()
    source = source_batch([(0, 20.0, CALM), (1, -30.0, CALM)], size=64).to("cuda")
    driver = driver_and_target([(0, 0.0, (1.0, 0.0)), (1, 10.0, (0.0, 0.7))], size=64)[0].to("cuda")
    images, casts = [], []
    for model in (predictor, rounded):
        with Operations() as recorded:
            images.append(model(source, driver)[1].image)
        casts.append(recorded.counts["aten._to_copy.default"])
    assert (images[0] - images[1]).abs().max() < 1e-3
    assert casts[1] < casts[0] - 100
