"""The mirrored half of a head: reflection in the symmetry plane, and selection of the mirrored points to keep.

Gradients reach the positions; the selection is discrete and has none.

Source: MGGTalk (arXiv 2504.00665), depth-aware symmetric geometry reconstruction, for mirror and voxel filter. Ours:
occupied voxels are sorted numbers, so there is neither a dense grid nor a loop over points; and mirrored points that
the source view would show, if the head had them, are dropped (`is_seen`).
"""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional

_GRID_BITS = 16  # three axes of a grid and the number of the head fill the 63 bits of a positive integer
_GRID_HALF = 1 << (_GRID_BITS - 1)

BEHIND_CM = 0.1
"""Distance behind the surface of its pixel from which a point is hidden; the mirror residual of real clips is 0.4 to
0.7 mm (docs/results.md)."""


def mirror_points(points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """Return points or directions of head space reflected in the symmetry plane x = 0."""
    return torch.cat((-points[..., :1], points[..., 1:]), dim=-1)


def voxel_keys(
    points: Float[Tensor, "num_points 3"], batch_index: Int64[Tensor, " num_points"], voxel_size: float
) -> Int64[Tensor, " num_points"]:
    """Return one integer of at least 0 per point, equal exactly for the points of one head that share a voxel.

    Args:
        points: head space, cm; within 32,000 voxels of the origin, which no head leaves (farther ones are clamped).
        batch_index: which head of a batch each point belongs to, 0 to 32,767.
        voxel_size: edge in cm.
    """
    cells = torch.floor(points.detach() / voxel_size).long().clamp(-_GRID_HALF, _GRID_HALF - 1) + _GRID_HALF
    x, y, z = cells.unbind(dim=-1)
    return (((batch_index << _GRID_BITS | x) << _GRID_BITS | y) << _GRID_BITS) | z


def select_mirrored(
    visible: Float[Tensor, "num_points 3"],
    batch_index: Int64[Tensor, " num_points"],
    depth: Float[Tensor, "batch height width"],
    head_to_camera: Float[Tensor, "batch 4 4"],
    intrinsics: Float[Tensor, "batch 3 3"],
    voxel_size: float,
) -> Bool[Tensor, " num_points"]:
    """Return which visible points have a mirror image to keep: its voxel is free and the camera does not see it.

    Args:
        visible: head space, cm. batch_index: which head of the batch each point belongs to. depth: see `is_seen`.
    """
    mirrored = mirror_points(visible.detach())
    # Term by term: products of millions of small matrices take twice as long on a GPU.
    *columns, offset = (intrinsics @ head_to_camera[:, :3]).unbind(dim=-1)
    image = offset[batch_index]
    for column, coordinate in zip(columns, mirrored.unbind(dim=-1), strict=True):
        image.addcmul_(column[batch_index], coordinate.unsqueeze(-1))
    pixels, z = image[:, :2] / image[:, 2:], image[:, 2]
    return ~is_seen(pixels, z, batch_index, depth) & keep_mirrored(
        visible, mirrored, batch_index, batch_index, voxel_size
    )


def keep_mirrored(
    visible: Float[Tensor, "num_points 3"],
    mirrored: Float[Tensor, "num_mirrored 3"],
    visible_batch_index: Int64[Tensor, " num_points"],
    mirrored_batch_index: Int64[Tensor, " num_mirrored"],
    voxel_size: float,
) -> Bool[Tensor, " num_mirrored"]:
    """Return which mirrored points lie in a voxel that no visible point of their head occupies."""
    # All at once, because launching operations takes most of the time on a GPU.
    keys = voxel_keys(
        torch.cat((visible.detach(), mirrored.detach())),
        torch.cat((visible_batch_index, mirrored_batch_index)),
        voxel_size,
    )
    occupied, asked = keys.split((len(visible), len(mirrored)))
    return ~_contains(occupied, asked)


def is_seen(
    pixels: Float[Tensor, "num_points 2"],
    z: Float[Tensor, " num_points"],
    batch_index: Int64[Tensor, " num_points"],
    depth: Float[Tensor, "batch height width"],
) -> Bool[Tensor, " num_points"]:
    """Return which points the camera would see: they lie on the surface of the depth map or in front of it.

    A mirrored point stands for a surface that the source view hides. A point that the view would show is either on the
    visible surface, which needs no second point, or in front of it, where the image shows that nothing is.

    Args:
        pixels: where the points project. z: camera frame, cm. batch_index: index of their map.
        depth: z in cm of the head's surface; infinite where there is none, and 0 where the image does not tell.
    """
    height, width = depth.shape[1:]
    with torch.no_grad():
        # A surface may be steep within a pixel, and its outline a pixel off: look for the nearest around.
        known = depth > 0
        around = -functional.max_pool2d(torch.where(known, -depth, float("-inf")).unsqueeze(1), 3, stride=1, padding=1)
        nearest = torch.where(known, around[:, 0], float("-inf"))
        column, row = pixels.floor().long().unbind(dim=-1)
        within = (z > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
        pixel = (batch_index * height + row.clamp(0, height - 1)) * width + column.clamp(0, width - 1)
        return within & (z < nearest.reshape(-1)[pixel] + BEHIND_CM)


def _contains(known: Int64[Tensor, " num_known"], asked: Int64[Tensor, " num_asked"]) -> Bool[Tensor, " num_asked"]:
    """Return which of the asked integers are among the known ones.

    Not `torch.isin`, which makes the host wait for a GPU.
    """
    if not len(known):
        return torch.zeros_like(asked, dtype=torch.bool)
    ordered = known.sort().values
    nearest = torch.searchsorted(ordered, asked).clamp(max=len(ordered) - 1)
    return ordered[nearest] == asked
