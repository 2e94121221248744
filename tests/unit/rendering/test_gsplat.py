"""gsplat on CUDA against the reference in float64 on the CPU.

`pytest -m gpu --log-cli-level=INFO tests/rendering` also prints the errors.
"""

import logging

import pytest
import torch

from mggtalk.rendering import rasterize
from tests.unit.rendering.scenes import (
    GAUSSIAN_FIELDS,
    cameras,
    cloud,
    random_loss,
    stacked,
    with_gradients,
    with_padding,
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(600),  # the first call compiles gsplat's CUDA code
    pytest.mark.filterwarnings("default"),  # the compiler's and the extension's warnings are not ours
]

logger = logging.getLogger(__name__)

SIZE = 128
SCENES = {
    "small": lambda: cloud(2, 10_000, (0.1, 0.4), seed=0),
    "large": lambda: cloud(2, 400, (0.1, 6.0), seed=1),
    "padded": lambda: with_padding(cloud(2, 3_000, (0.1, 0.4), seed=2), 500),
}


def rendered_with_gradients(scene, device, dtype, backend):
    world_to_camera, intrinsics = (camera.to(device, dtype) for camera in cameras(2, SIZE, SIZE))
    world_to_camera.requires_grad_()
    scene, leaves = with_gradients(scene.to(dtype).to(device))
    image = stacked(rasterize(scene, world_to_camera, intrinsics, SIZE, SIZE, backend=backend))
    # Depth is some fifty times as large as the rest; bring it to the same weight.
    loss = random_loss(image[..., :4]) + random_loss(image[..., 4:] / 50, seed=1)
    gradients = torch.autograd.grad(loss, [*leaves, world_to_camera])
    return image.detach().double().cpu(), [gradient.double().cpu() for gradient in gradients]


@pytest.mark.parametrize("name", SCENES)
def test_gsplat_matches_the_reference(name):
    scene = SCENES[name]()
    image, gradients = rendered_with_gradients(scene, "cuda", torch.float32, "gsplat")
    expected, expected_gradients = rendered_with_gradients(scene, "cpu", torch.float64, "reference")
    error = (image - expected).abs() / torch.tensor([1.0, 1.0, 1.0, 1.0, 50.0])
    logger.info("%s: image error mean %.1e, max %.1e", name, error.mean(), error.max())
    assert error.mean() < 2e-6
    # Where rounding takes or leaves a contribution of 1/255, or the last one of a pixel, single pixels differ by more.
    assert (error > 1e-4).double().mean() < 1e-3
    for field, gradient, wanted in zip((*GAUSSIAN_FIELDS, "camera"), gradients, expected_gradients, strict=True):
        relative = float((gradient - wanted).norm() / wanted.norm())
        logger.info("%s: gradient of %s: relative error %.1e", name, field, relative)
        # gsplat 1.5.3's gradient to the camera was 4 % off on an H100; nothing here trains cameras.
        assert relative < (0.1 if field == "camera" else 1e-2), field
        assert torch.isfinite(gradient).all(), field


def test_the_reference_runs_on_cuda_too():
    scene = SCENES["small"]()
    image, gradients = rendered_with_gradients(scene, "cuda", torch.float64, "reference")
    expected, expected_gradients = rendered_with_gradients(scene, "cpu", torch.float64, "reference")
    torch.testing.assert_close(image, expected, rtol=1e-7, atol=1e-9)
    for gradient, wanted in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-7)


def test_auto_takes_gsplat_on_cuda():
    scene = cloud(2, 500, (0.1, 1.0), seed=3, dtype=torch.float32).to("cuda")
    world_to_camera, intrinsics = (values.cuda() for values in cameras(2, SIZE, SIZE, torch.float32))
    automatic = stacked(rasterize(scene, world_to_camera, intrinsics, SIZE, SIZE))
    chosen = stacked(rasterize(scene, world_to_camera, intrinsics, SIZE, SIZE, backend="gsplat"))
    assert automatic.max() > 0
    assert torch.equal(automatic, chosen)
