"""The mirrored half of a head: reflection in the symmetry plane and the voxel filter; gradients reach the positions.

Source: MGGTalk (arXiv 2504.00665), depth-aware symmetric geometry reconstruction; the filter hashes voxels by sorting,
so there is neither a dense grid nor a loop over points.
"""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

_GRID_BITS = 16  # three axes of a grid and the number of the head fill the 63 bits of a positive integer
_GRID_HALF = 1 << (_GRID_BITS - 1)


def mirror_points(points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """Return points or directions of head space reflected in the symmetry plane x = 0."""
    return points * points.new_tensor([-1.0, 1.0, 1.0])


def voxel_keys(
    points: Float[Tensor, "num_points 3"], head: Int64[Tensor, " num_points"], voxel_size: float
) -> Int64[Tensor, " num_points"]:
    """Return one integer per point, equal exactly for the points of one head that share a voxel.

    Args:
        points: head space, cm; within 32,000 voxels of the origin, which no head leaves (farther ones are clamped).
        head: which head of a batch each point belongs to, 0 to 32,767.
        voxel_size: edge in cm.
    """
    cells = torch.floor(points.detach() / voxel_size).long().clamp(-_GRID_HALF, _GRID_HALF - 1) + _GRID_HALF
    key = head
    for axis in cells.unbind(dim=-1):
        key = (key << _GRID_BITS) | axis
    return key


def keep_mirrored(
    visible: Float[Tensor, "num_points 3"],
    mirrored: Float[Tensor, "num_mirrored 3"],
    visible_head: Int64[Tensor, " num_points"],
    mirrored_head: Int64[Tensor, " num_mirrored"],
    voxel_size: float,
) -> Bool[Tensor, " num_mirrored"]:
    """Return which mirrored points lie in a voxel that no visible point of their head occupies."""
    occupied = voxel_keys(visible, visible_head, voxel_size)
    return ~torch.isin(voxel_keys(mirrored, mirrored_head, voxel_size), occupied)
