"""Projects 3D Gaussians to 2D Gaussians on the image, differentiably (elliptical weighted average splatting).

Source: Zwicker et al., "EWA Splatting" (2002), sections 4-5, with the conventions of gsplat 1.5's "classic" mode: the
screen covariance is widened by `BLUR_VARIANCE`, and the Jacobian is taken at a view ray clamped to a little outside the
image.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mggtalk.rendering.gaussians import Gaussians, rotation_matrices

BLUR_VARIANCE = 0.3  # px^2, gsplat's eps2d
MIN_ALPHA = 1.0 / 255.0  # fainter contributions are skipped (gsplat's ALPHA_THRESHOLD)
VIEW_MARGIN = 0.3  # of half the image: how far outside it the Jacobian still follows the view ray (gsplat)


@dataclass(frozen=True, slots=True, eq=False)
class ScreenGaussians:
    """Gaussians on the image, as image rows cut them. Pixels, pixel centres at +0.5.

    Along y a Gaussian has the mean y and `variance_y`; along x, on the row at height y', it has the mean
    x + slope * (y' - y) and `variance_x`.

    Attributes:
        x, y: centres. depth: z in the camera frame, cm.
        variance_x, variance_y: in px^2, blur included.
        visible: between the planes and opaque enough; the values of the others are finite but without meaning.
    """

    x: Float[Tensor, "batch num_gaussians"]
    y: Float[Tensor, "batch num_gaussians"]
    depth: Float[Tensor, "batch num_gaussians"]
    slope: Float[Tensor, "batch num_gaussians"]
    variance_x: Float[Tensor, "batch num_gaussians"]
    variance_y: Float[Tensor, "batch num_gaussians"]
    visible: Bool[Tensor, "batch num_gaussians"]


def project(
    gaussians: Gaussians,
    world_to_camera: Float[Tensor, "batch 4 4"],
    intrinsics: Float[Tensor, "batch 3 3"],
    size: tuple[int, int],
    planes: tuple[float, float],
) -> ScreenGaussians:
    """Project the Gaussians of each head through its camera.

    Args:
        size: height and width of the image in pixels. planes: near and far plane, cm.
    """
    height, width = size
    near, far = planes
    camera_rotation = world_to_camera[:, :3, :3]
    means = gaussians.means @ camera_rotation.mT + world_to_camera[:, None, :3, 3]
    x, y, z = means.unbind(-1)
    in_range = (z >= near) & (z <= far)
    depth = torch.where(in_range, z, 1.0)  # keeps gradients of culled points finite (0, not 0 * inf)
    ray_x, ray_y = x / depth, y / depth
    focal_x, center_x = intrinsics[:, 0, 0, None], intrinsics[:, 0, 2, None]
    focal_y, center_y = intrinsics[:, 1, 1, None], intrinsics[:, 1, 2, None]
    axes = rotation_matrices(gaussians.rotations) * gaussians.scales[..., None, :]
    axes_x = _screen_axes(axes, camera_rotation, _clamp_ray(ray_x, focal_x, center_x, width), focal_x / depth, row=0)
    axes_y = _screen_axes(axes, camera_rotation, _clamp_ray(ray_y, focal_y, center_y, height), focal_y / depth, row=1)
    xx = (axes_x * axes_x).sum(-1) + BLUR_VARIANCE
    xy = (axes_x * axes_y).sum(-1)
    yy = (axes_y * axes_y).sum(-1) + BLUR_VARIANCE
    slope = xy / yy
    return ScreenGaussians(
        x=focal_x * ray_x + center_x,
        y=focal_y * ray_y + center_y,
        depth=depth,
        slope=slope,
        # No smaller than the smallest eigenvalue, so than the blur; rounding of long needles could bring it below 0.
        variance_x=(xx - xy * slope).clamp(min=BLUR_VARIANCE),
        variance_y=yy,
        visible=in_range & (gaussians.opacities >= MIN_ALPHA),
    )


def _clamp_ray(
    ray: Float[Tensor, "batch num_gaussians"],
    focal: Float[Tensor, "batch 1"],
    center: Float[Tensor, "batch 1"],
    extent: int,
) -> Float[Tensor, "batch num_gaussians"]:
    margin = VIEW_MARGIN * 0.5 * extent / focal
    return ray.clamp(min=-center / focal - margin, max=(extent - center) / focal + margin)


def _screen_axes(
    axes: Float[Tensor, "batch num_gaussians 3 3"],
    camera_rotation: Float[Tensor, "batch 3 3"],
    ray: Float[Tensor, "batch num_gaussians"],
    magnification: Float[Tensor, "batch num_gaussians"],
    row: int,
) -> Float[Tensor, "batch num_gaussians 3"]:
    """Return the x (row 0) or y (row 1) displacement on the image of one standard deviation along each axis."""
    # One row of the perspective Jacobian times the camera rotation: magnification * (R_row - ray * R_z).
    gradient = camera_rotation[:, None, row] - ray[..., None] * camera_rotation[:, None, 2]
    return (axes * (gradient * magnification[..., None])[..., None]).sum(-2)
