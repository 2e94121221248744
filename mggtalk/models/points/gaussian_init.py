"""Initial surfels: orientation and scale of the Gaussians before anything is learned.

A surfel lies flat on the surface, as wide as the gap to the next source pixel, also where the surface recedes, and
stretches with the surface under it.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mggtalk.rendering.gaussians import rotation_matrices

SPREAD = 0.55
"""Standard deviation of a Gaussian over the distance to its neighbours; the rasteriser's own blur closes the gaps."""
FLATNESS = 0.5
"""Thickness of a Gaussian along the normal over its width."""
_OPPOSITE = 1e-6
"""Below this 1 + z.n is rounding error, and the normal is within 0.1 degrees of -z."""
_STRETCH = (0.25, 3.0)
"""A closing lid leaves next to nothing of the skin over the eye; a larger stretch is noise of the landmarks."""
_WIDE_ENOUGH, _LEAST_ACROSS = 0.5, 0.125
"""Cosines of the surface to the line of sight: surfels as wide as the pixels cover it down to the first, and are four
times as wide at the second. Beyond lies the outline, and normals are noise."""
_HARDLY_TILTED = 0.1
"""Sine of the angle up to which the direction in which the surface recedes hardly matters."""


def log_stretch(
    axes: Float[Tensor, "num_points 3 3"], gradient: Float[Tensor, "num_points 3 3"]
) -> Float[Tensor, "num_points 3"]:
    """Return the log factor by which a displacement with this gradient lengthens each axis, a column."""
    length: Tensor = (axes + gradient @ axes).norm(dim=1)
    return length.clamp(*_STRETCH).log()


def log_gap(
    axes: Float[Tensor, "num_points 3 3"], view_dirs: Float[Tensor, "num_points 3"]
) -> Float[Tensor, "num_points 3"]:
    """Return the log factor by which surfels must be wider along their axes, columns, where the surface recedes.

    A surface seen edge-on has few pixels, far apart: surfels as wide as the pixels leave gaps from other viewpoints.
    """
    along = (axes * view_dirs.unsqueeze(-1)).sum(dim=1)[:, :2]
    across = (1 - along.square()).clamp(min=_LEAST_ACROSS**2, max=_WIDE_ENOUGH**2).sqrt()
    return functional.pad((_WIDE_ENOUGH / across).log(), (0, 1))


def rotation_along(
    normals: Float[Tensor, "num_points 3"], view_dirs: Float[Tensor, "num_points 3"]
) -> Float[Tensor, "num_points 4"]:
    """Return rotations (wxyz) of the z axis onto each normal and the x axis towards where the surface recedes."""
    shortest = rotation_to_normal(normals)
    axes = rotation_matrices(shortest)
    # Where the surface faces the camera nothing recedes, and x stays where the shortest rotation leaves it.
    recedes = (axes * view_dirs.unsqueeze(-1)).sum(dim=1)[:, :2]
    stays = _HARDLY_TILTED * (1 - recedes.square().sum(dim=1))
    half_angle = torch.atan2(recedes[:, 1], recedes[:, 0] + stays) / 2
    return turned_about_z(shortest, half_angle)


def turned_about_z(
    rotations: Float[Tensor, "*batch 4"], half_angle: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch 4"]:
    """Return the quaternions (wxyz) of first turning about the z axis, then as each of `rotations` turns.

    Args:
        half_angle: half of the turn about z, radians.

    Source: Hamilton's product with (cos, 0, 0, sin).
    """
    w, x, y, z = rotations.unbind(dim=-1)
    beside = torch.stack((-z, y, -x, w), dim=-1)
    return torch.addcmul(rotations * half_angle.cos().unsqueeze(-1), beside, half_angle.sin().unsqueeze(-1))


def rotation_to_normal(normals: Float[Tensor, "num_points 3"]) -> Float[Tensor, "num_points 4"]:
    """Return the shortest rotation (wxyz) of the z axis onto each normal; unknown normals (zero) give the identity.

    Source: half-angle quaternion between unit vectors, (1 + z.n, z x n), normalised.
    """
    x, y, z = normals.unbind(dim=-1)
    quaternion = torch.stack((1 + z, -y, x, torch.zeros_like(x)), dim=-1)
    # At n = -z the quaternion vanishes and the axis is arbitrary: x is as good as any.
    half_turn = torch.zeros_like(quaternion)
    half_turn.select(-1, 1).fill_(1.0)
    return functional.normalize(torch.where((1 + z < _OPPOSITE).unsqueeze(-1), half_turn, quaternion), dim=-1)
