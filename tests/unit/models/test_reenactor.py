import numpy as np
import pytest
import torch

from mggtalk.models.reenactor import Reenactor
from tests.support.synthetic_head import facing_camera, head_frame, make_head, source_frame
from tests.unit.models.small import driver_and_target, perturb, small_predictor, source_batch

OPEN = np.array([1.0, 0.0], np.float32)


@pytest.fixture
def reenactor() -> Reenactor:
    predictor = small_predictor()
    perturb(predictor, scale=0.05)
    return Reenactor(predictor, "cpu")


def test_images_are_those_of_the_predictor_as_bytes(reenactor):
    source = source_frame(make_head(0), 32, 25.0)
    head = reenactor.reconstruct(source)
    image = reenactor.render(head, OPEN, facing_camera(10.0).astype(np.float32))
    assert image.shape == (32, 32, 3)
    assert image.dtype == np.uint8
    predictor = small_predictor()
    perturb(predictor, scale=0.05)
    with torch.no_grad():
        _, images = predictor(source_batch([(0, 25.0, (0.0, 0.0))]), driver_and_target([(0, 10.0, (1.0, 0.0))])[0])
    expected = images.image[0].permute(1, 2, 0).clamp(0, 1).numpy() * 255
    assert np.abs(image - expected).max() <= 0.51


def test_pose_and_expression_change_the_image(reenactor):
    source = source_frame(make_head(0), 32)
    head = reenactor.reconstruct(source)
    still = reenactor.render(head, source.frame.expression, source.frame.head_to_camera)
    again = reenactor.render(head, source.frame.expression, source.frame.head_to_camera)
    turned = reenactor.render(head, source.frame.expression, facing_camera(30.0).astype(np.float32))
    talking = reenactor.render(head, OPEN, source.frame.head_to_camera)
    assert np.array_equal(still, again)
    assert np.abs(turned.astype(int) - still).max() > 20
    assert np.abs(talking.astype(int) - still).max() > 2


def test_arrays_as_the_shards_give_them_are_taken(reenactor):
    """Arrays that may not be written to, or are views into others, are as good as any."""
    source = source_frame(make_head(0), 32)
    expressions = np.stack([OPEN, OPEN])
    expressions.setflags(write=False)
    poses = np.stack([source.frame.head_to_camera] * 2)
    poses.setflags(write=False)
    assert reenactor.render(reenactor.reconstruct(source), expressions[1], poses[1]).any()


@pytest.mark.parametrize("size", [16, 64])
def test_frame_of_another_size_is_refused(reenactor, size):
    assert reenactor.resolution == 32
    with pytest.raises(ValueError, match=rf"expected 32 px square, got \({size}, {size}\)"):
        reenactor.reconstruct(source_frame(make_head(0), size))


def test_counts_the_gaussians_that_it_renders(reenactor):
    head = reenactor.reconstruct(source_frame(make_head(0), 32, 25.0))
    predictor = small_predictor()
    driven = predictor.animate(head.avatar, head.avatar.expression)
    assert reenactor.num_gaussians(head) == predictor.densify(head.avatar, driven).means.shape[1]
    frontal = reenactor.reconstruct(source_frame(make_head(0), 32))
    assert reenactor.num_gaussians(frontal) < reenactor.num_gaussians(head)


def test_reads_the_camera_of_its_source(reenactor):
    source = source_frame(make_head(0), 32)
    head = reenactor.reconstruct(source)
    torch.testing.assert_close(head.source.intrinsics[0], torch.from_numpy(source.frame.intrinsics))
    assert head_frame(make_head(0), 32).intrinsics.shape == (3, 3)
