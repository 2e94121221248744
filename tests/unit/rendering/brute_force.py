"""The slowest rasteriser: a loop over pixels and Gaussians, straight from the formulas; it shares no code with ours."""

import torch
from jaxtyping import Float
from torch import Tensor

from mggtalk.rendering import Gaussians


def brute_force(
    gaussians: Gaussians,
    world_to_camera: Float[Tensor, "4 4"],
    intrinsics: Float[Tensor, "3 3"],
    head: int,
    height: int,
    width: int,
) -> Float[Tensor, "height width features"]:
    """Return color, alpha and accumulated depth of one head. Everything is differentiable by autograd."""
    splats = []
    for index in range(gaussians.means.shape[1]):
        splat = _project(gaussians, head, index, world_to_camera, intrinsics, height, width)
        if splat is not None:
            splats.append(splat)
    splats.sort(key=lambda splat: float(splat[0].detach()))
    rows = [torch.stack([_pixel(splats, x + 0.5, y + 0.5, gaussians) for x in range(width)]) for y in range(height)]
    return torch.stack(rows)


def _project(gaussians, head, index, world_to_camera, intrinsics, height, width):
    mean = gaussians.means[head, index]
    x, y, z = (world_to_camera @ torch.cat([mean, mean.new_ones(1)]))[:3]
    if z < 1.0 or gaussians.opacities[head, index] < 1 / 255:
        return None
    axes = torch.stack(
        [
            _rotate(gaussians.rotations[head, index], axis) * scale
            for axis, scale in zip(torch.eye(3).to(mean), gaussians.scales[head, index], strict=True)
        ],
        dim=1,
    )
    covariance = world_to_camera[:3, :3] @ axes @ axes.T @ world_to_camera[:3, :3].T
    fx, fy, cx, cy = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]
    # The Jacobian is taken no farther out than 15 % of the image beyond its edges.
    slope_x = torch.clamp(x / z, (-0.15 * width - cx) / fx, (1.15 * width - cx) / fx)
    slope_y = torch.clamp(y / z, (-0.15 * height - cy) / fy, (1.15 * height - cy) / fy)
    zero = torch.zeros_like(z)
    jacobian = torch.stack(
        [torch.stack([fx / z, zero, -fx * slope_x / z]), torch.stack([zero, fy / z, -fy * slope_y / z])]
    )
    inverse = torch.linalg.inv(jacobian @ covariance @ jacobian.T + 0.3 * torch.eye(2).to(mean))
    return z, torch.stack([fx * x / z + cx, fy * y / z + cy]), inverse, index, head


def _rotate(quaternion, vector):
    """Return q v q* for a unit quaternion made from `quaternion`."""
    unit = quaternion / quaternion.norm()
    w, axis = unit[0], unit[1:]
    twice_cross = 2 * torch.linalg.cross(axis, vector)
    return vector + w * twice_cross + torch.linalg.cross(axis, twice_cross)


def _pixel(splats, x, y, gaussians):
    result = gaussians.colors.new_zeros(gaussians.colors.shape[-1] + 2)
    transmittance = gaussians.colors.new_ones(())
    for z, center, inverse, index, head in splats:
        offset = torch.tensor([x, y]).to(center) - center
        alpha = gaussians.opacities[head, index] * torch.exp(-0.5 * offset @ inverse @ offset)
        alpha = torch.clamp(alpha, max=0.999)
        if alpha < 1 / 255:
            continue
        if transmittance * (1 - alpha) <= 1e-4:
            break
        seen = torch.cat([gaussians.colors[head, index], torch.stack([torch.ones_like(z), z])])
        result = result + transmittance * alpha * seen
        transmittance = transmittance * (1 - alpha)
    return result
