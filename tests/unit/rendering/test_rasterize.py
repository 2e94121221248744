import pytest
import torch

from mggtalk.rendering import rasterize
from tests.unit.rendering.scenes import cameras, cloud, stacked


def test_auto_takes_the_reference_on_the_cpu():
    scene, camera = cloud(1, 20, (0.3, 1.0), seed=0), cameras(1, 8, 8)
    automatic, reference = (stacked(rasterize(scene, *camera, 8, 8, backend=name)) for name in ("auto", "reference"))
    assert automatic.max() > 0
    assert torch.equal(automatic, reference)


def test_any_number_of_color_channels():
    scene, camera = cloud(2, 20, (0.3, 1.0), seed=0), cameras(2, 8, 9)
    scene = type(scene)(scene.means, scene.rotations, scene.scales, scene.opacities, scene.colors.repeat(1, 1, 4))
    rendering = rasterize(scene, *camera, 8, 9)
    assert rendering.color.shape == (2, 8, 9, 12)
    assert rendering.alpha.shape == rendering.depth.shape == (2, 8, 9)
    torch.testing.assert_close(rendering.color[..., :3], rendering.color[..., 9:])


def test_gsplat_on_cpu_tensors_says_what_to_do():
    with pytest.raises(RuntimeError, match=r"expected CUDA tensors, got cpu .* use backend reference"):
        rasterize(cloud(1, 2, (0.3, 1.0), seed=0), *cameras(1, 8, 8), 8, 8, backend="gsplat")


def test_wrong_arguments_are_named():
    scene, (world_to_camera, intrinsics) = cloud(2, 4, (0.3, 1.0), seed=0), cameras(2, 8, 8)
    with pytest.raises(ValueError, match=r"world_to_camera: expected shape \(2, 4, 4\) for 2 heads, got \(1, 4, 4\)"):
        rasterize(scene, world_to_camera[:1], intrinsics, 8, 8)
    with pytest.raises(ValueError, match=r"intrinsics: expected shape \(2, 3, 3\) for 2 heads, got \(2, 2, 3\)"):
        rasterize(scene, world_to_camera, intrinsics[:, :2], 8, 8)
    with pytest.raises(ValueError, match="got height 0, width 8"):
        rasterize(scene, world_to_camera, intrinsics, 0, 8)
    with pytest.raises(ValueError, match="expected auto, gsplat, reference; got 'opengl'"):
        rasterize(scene, world_to_camera, intrinsics, 8, 8, backend="opengl")  # type: ignore[arg-type]
