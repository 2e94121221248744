import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mggtalk.rendering import Gaussians, rasterize
from tests.unit.rendering.brute_force import brute_force
from tests.unit.rendering.scenes import (
    GAUSSIAN_FIELDS,
    cameras,
    cloud,
    random_loss,
    replace_rows,
    stacked,
    with_gradients,
    with_padding,
)

HEIGHT, WIDTH = 11, 14
DOUBLE = torch.float64


def scene_of_all_cases(seed: int) -> Gaussians:
    """Two heads: small and large Gaussians, behind the camera, beside the image, padding, an opaque stack of four."""
    scene = cloud(2, 18, (0.3, 4.0), seed)
    scene = replace_rows(scene, 0, means=torch.tensor([[0.0, 0.0, -80.0], [14.0, 3.0, 0.0], [-60.0, 9.0, 4.0]]))
    scene = replace_rows(scene, 3, opacities=torch.zeros(2), rotations=torch.zeros(2, 4), scales=torch.zeros(2, 3))
    stack = torch.tensor([[0.0, 1.0, z] for z in (1.0, -1.0, 2.0, -2.0)])
    return replace_rows(scene, 5, means=stack, opacities=torch.tensor([1.0, 0.95, 1.0, 0.9]))


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_values_and_gradients_match_brute_force(seed):
    world_to_camera, intrinsics = cameras(2, HEIGHT, WIDTH)
    world_to_camera.requires_grad_()
    scene, leaves = with_gradients(scene_of_all_cases(seed))
    image = stacked(rasterize(scene, world_to_camera, intrinsics, HEIGHT, WIDTH, backend="reference"))
    expected = torch.stack(
        [brute_force(scene, world_to_camera[head], intrinsics[head], head, HEIGHT, WIDTH) for head in range(2)]
    )
    assert expected[..., 3].max() > 0.999, "the scene should reach the early stop"
    assert expected[..., 3].min() < 0.3, "the scene should have almost empty pixels"
    torch.testing.assert_close(image, expected, rtol=1e-9, atol=1e-11)

    inputs = [*leaves, world_to_camera]
    gradients = torch.autograd.grad(random_loss(image), inputs)
    expected_gradients = torch.autograd.grad(random_loss(expected), inputs)
    for name, gradient, wanted in zip((*GAUSSIAN_FIELDS, "camera"), gradients, expected_gradients, strict=True):
        assert wanted.abs().max() > 1e-3
        torch.testing.assert_close(gradient, wanted, rtol=1e-7, atol=1e-9, msg=f"gradient of {name}")


def single_gaussian(opacity: float, deviation_cm: float, z: float = 0.0) -> Gaussians:
    return Gaussians(
        means=torch.tensor([[[0.0, 0.0, z]]], dtype=DOUBLE),
        rotations=torch.tensor([[[1.0, 0.0, 0.0, 0.0]]], dtype=DOUBLE),
        scales=torch.full((1, 1, 3), deviation_cm, dtype=DOUBLE),
        opacities=torch.full((1, 1), opacity, dtype=DOUBLE),
        colors=torch.tensor([[[0.2, 0.4, 0.8]]], dtype=DOUBLE),
    )


def straight_camera(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A camera 50 cm before the origin whose axis goes through the centre of pixel (size // 2, size // 2)."""
    world_to_camera = torch.eye(4, dtype=DOUBLE)[None]
    world_to_camera[0, 2, 3] = 50.0
    centre = size // 2 + 0.5
    return world_to_camera, torch.tensor([[[100.0, 0.0, centre], [0.0, 100.0, centre], [0.0, 0.0, 1.0]]], dtype=DOUBLE)


def test_one_gaussian_has_its_closed_form():
    rendering = rasterize(single_gaussian(opacity=0.7, deviation_cm=1.0), *straight_camera(21), 21, 21)
    variance = (1.0 * 100 / 50) ** 2 + 0.3
    squared = (torch.arange(21, dtype=DOUBLE) - 10).square()
    expected = 0.7 * torch.exp(-(squared[:, None] + squared[None]) / (2 * variance))
    expected[expected < 1 / 255] = 0
    torch.testing.assert_close(rendering.alpha[0], expected)
    torch.testing.assert_close(rendering.color[0], expected[..., None] * torch.tensor([0.2, 0.4, 0.8], dtype=DOUBLE))
    torch.testing.assert_close(rendering.depth[0], expected * 50)
    assert 0 < (rendering.alpha == 0).sum() < 21 * 21


def test_alpha_is_capped_and_the_cap_passes_no_gradient():
    scene, (_, _, _, opacities, colors) = with_gradients(single_gaussian(opacity=1.0, deviation_cm=1.0))
    alpha = rasterize(scene, *straight_camera(5), 5, 5).alpha
    assert float(alpha[0, 2, 2].detach()) == pytest.approx(0.999, abs=1e-12)
    at_cap, beside = (torch.autograd.grad(alpha[0, 2, x], opacities, retain_graph=True)[0] for x in (2, 3))
    assert float(at_cap) == 0
    assert float(beside) == pytest.approx(math.exp(-0.5 / 4.3))
    assert torch.autograd.grad(alpha.sum(), colors)[0].abs().max() == 0


def test_a_finished_pixel_hides_what_lies_behind():
    layers = 6
    one_each = [single_gaussian(opacity=0.9, deviation_cm=1.0, z=z) for z in range(layers)]
    scene = Gaussians(*(torch.cat([getattr(one, name) for one in one_each], dim=1) for name in GAUSSIAN_FIELDS))
    scene, (_, _, _, opacities, colors) = with_gradients(scene)
    rendering = rasterize(scene, *straight_camera(1), 1, 1)
    # 0.1 ** 3 is left after three layers; the fourth would leave 0.1 ** 4, which is no more than 1e-4.
    assert float(rendering.alpha[0, 0, 0].detach()) == pytest.approx(0.999, abs=1e-9)
    by_color = torch.autograd.grad(rendering.color.sum(), colors, retain_graph=True)[0]
    torch.testing.assert_close(by_color[0, :, 0], torch.tensor([0.9, 0.09, 0.009, 0, 0, 0], dtype=DOUBLE))
    by_opacity = torch.autograd.grad(rendering.alpha.sum(), opacities)[0]
    torch.testing.assert_close(by_opacity[0], torch.tensor([0.01, 0.01, 0.01, 0, 0, 0], dtype=DOUBLE))


@pytest.mark.parametrize("z", [-50.0, -49.5, -80.0, 1e11])
def test_gaussians_outside_the_planes_are_culled_with_finite_gradients(z):
    scene, leaves = with_gradients(single_gaussian(opacity=0.9, deviation_cm=1.0, z=z))
    image = stacked(rasterize(scene, *straight_camera(9), 9, 9))
    assert torch.count_nonzero(image) == 0
    for gradient in torch.autograd.grad(random_loss(image), leaves):
        assert torch.count_nonzero(gradient) == 0


def test_a_needle_too_long_for_float32_stays_finite():
    needle = single_gaussian(opacity=0.9, deviation_cm=1e-3)
    scales, rotations = torch.tensor([[[1e4, 1e-3, 1e-3]]]), torch.tensor([[[0.92, 0.0, 0.0, 0.39]]])
    scene = Gaussians(needle.means, rotations, scales, needle.opacities, needle.colors).to(torch.float32)
    scene, leaves = with_gradients(scene)
    world_to_camera, intrinsics = straight_camera(9)
    image = stacked(rasterize(scene, world_to_camera.float(), intrinsics.float(), 9, 9))
    assert image[..., 3].max() > 0.5
    assert image[..., 3].max() <= 0.9
    for gradient in torch.autograd.grad(random_loss(image), leaves):
        assert torch.isfinite(gradient).all()


def test_padding_changes_no_more_than_rounding_and_gets_no_gradient():
    """On some processors products of another length round otherwise."""
    scene = cloud(2, 40, (0.2, 1.0), seed=3, dtype=torch.float32)
    world_to_camera, intrinsics = cameras(2, 24, 24, torch.float32)
    padded, leaves = with_gradients(with_padding(scene, 7))
    image = stacked(rasterize(padded, world_to_camera, intrinsics, 24, 24))
    alone = stacked(rasterize(scene, world_to_camera, intrinsics, 24, 24))
    torch.testing.assert_close(image, alone, rtol=1e-5, atol=1e-6)
    for gradient in torch.autograd.grad(random_loss(image), leaves):
        assert torch.count_nonzero(gradient[:, 40:]) == 0
        assert torch.isfinite(gradient).all()


def test_an_empty_set_renders_black():
    scene = cloud(1, 0, (0.2, 1.0), seed=0)
    image = stacked(rasterize(scene, *cameras(1, 6, 5), 6, 5))
    assert image.shape == (1, 6, 5, 5)
    assert torch.count_nonzero(image) == 0


def test_a_batch_equals_its_heads_one_by_one():
    scene = cloud(3, 300, (0.1, 0.8), seed=4, dtype=torch.float32)
    world_to_camera, intrinsics = cameras(3, 32, 40, torch.float32)
    together = stacked(rasterize(scene, world_to_camera, intrinsics, 32, 40))
    for head in range(3):
        alone = Gaussians(*(getattr(scene, name)[head : head + 1] for name in GAUSSIAN_FIELDS))
        image = stacked(rasterize(alone, world_to_camera[head, None], intrinsics[head, None], 32, 40))
        torch.testing.assert_close(together[head], image[0], rtol=1e-6, atol=1e-6)


@given(st.permutations(range(12)))
def test_the_order_of_the_gaussians_does_not_matter(permutation):
    scene = cloud(1, 12, (0.3, 3.0), seed=5)
    shuffled = Gaussians(*(getattr(scene, name)[:, permutation] for name in GAUSSIAN_FIELDS))
    camera = cameras(1, HEIGHT, WIDTH)
    image, other = (stacked(rasterize(which, *camera, HEIGHT, WIDTH)) for which in (scene, shuffled))
    torch.testing.assert_close(image, other, rtol=1e-12, atol=1e-12)


@given(seed=st.integers(0, 10_000), num_gaussians=st.integers(1, 60), largest=st.floats(0.1, 20.0))
def test_white_renders_as_alpha_and_depth_stays_between_the_nearest_and_the_farthest(seed, num_gaussians, largest):
    scene = cloud(1, num_gaussians, (0.05, largest), seed)
    scene = Gaussians(scene.means, scene.rotations, scene.scales, scene.opacities, torch.ones_like(scene.colors))
    world_to_camera, intrinsics = cameras(1, HEIGHT, WIDTH)
    rendering = rasterize(scene, world_to_camera, intrinsics, HEIGHT, WIDTH)
    torch.testing.assert_close(rendering.color, rendering.alpha[..., None].expand_as(rendering.color))
    assert rendering.alpha.min() >= 0
    assert rendering.alpha.max() <= 1 - 1e-4
    z = scene.means[0] @ world_to_camera[0, 2, :3] + world_to_camera[0, 2, 3]
    assert (rendering.depth >= rendering.alpha * z.min() - 1e-9).all()
    assert (rendering.depth <= rendering.alpha * z.max() + 1e-9).all()


def test_float32_stays_close_to_float64():
    scene = cloud(1, 2000, (0.05, 0.4), seed=6)
    world_to_camera, intrinsics = cameras(1, 64, 64)
    exact = stacked(rasterize(scene, world_to_camera, intrinsics, 64, 64))
    rounded = stacked(rasterize(scene.to(torch.float32), world_to_camera.float(), intrinsics.float(), 64, 64))
    error = (rounded - exact)[..., :4].abs()
    assert error.mean() < 1e-6
    assert error.quantile(0.999) < 1e-5  # the rest: a contribution of 1/255 that rounding takes or leaves


def test_runs_are_bit_identical_under_deterministic_algorithms():
    scene, leaves = with_gradients(cloud(2, 500, (0.1, 0.8), seed=7, dtype=torch.float32))
    world_to_camera, intrinsics = cameras(2, 32, 32, torch.float32)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        runs = []
        for _ in range(2):
            image = stacked(rasterize(scene, world_to_camera, intrinsics, 32, 32))
            runs.append([image, *torch.autograd.grad(random_loss(image), leaves)])
    finally:
        torch.use_deterministic_algorithms(before)
    for first, second in zip(*runs, strict=True):
        assert first.abs().max() > 0
        assert torch.equal(first, second)
