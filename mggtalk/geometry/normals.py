"""Surface normals of a depth map."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from mggtalk.geometry.cameras import pixel_centers, unproject


def normals_from_depth(
    depth: Float[Tensor, "batch height width"], intrinsics: Float[Tensor, "batch 3 3"]
) -> tuple[Float[Tensor, "batch height width 3"], Bool[Tensor, "batch height width"]]:
    """Return unit normals in the camera frame, facing the camera, and where they are known.

    Differences are central inside and one-sided at the border of the known depth; a pixel without a neighbour along
    some axis has no normal.

    Args:
        depth: z in cm; 0 where unknown.
        intrinsics: pixels of the depth map.
    """
    batch, height, width = depth.shape
    pixels = pixel_centers(height, width, depth.device).reshape(1, -1, 2).expand(batch, -1, -1)
    points = unproject(pixels, depth.reshape(batch, -1), intrinsics).reshape(batch, height, width, 3)
    known = depth > 0
    along_x, has_x = _difference(points, known, axis=2)
    along_y, has_y = _difference(points, known, axis=1)
    # x right and y down span a surface whose cross product y x x points back at the camera.
    normals = functional.normalize(torch.linalg.cross(along_y, along_x), dim=-1)
    valid = known & has_x & has_y
    return normals * valid.unsqueeze(-1), valid


def _difference(
    points: Float[Tensor, "batch height width 3"], known: Bool[Tensor, "batch height width"], axis: int
) -> tuple[Float[Tensor, "batch height width 3"], Bool[Tensor, "batch height width"]]:
    size = points.shape[axis]
    before = torch.arange(size, device=points.device).sub(1).clamp(min=0)
    after = torch.arange(size, device=points.device).add(1).clamp(max=size - 1)
    has_before = known.index_select(axis, before)
    has_after = known.index_select(axis, after)
    previous = torch.where(has_before.unsqueeze(-1), points.index_select(axis, before), points)
    following = torch.where(has_after.unsqueeze(-1), points.index_select(axis, after), points)
    edge = torch.ones_like(known)
    edge.index_fill_(axis, torch.tensor([0], device=points.device), False)
    inner = torch.ones_like(known)
    inner.index_fill_(axis, torch.tensor([size - 1], device=points.device), False)
    return following - previous, (has_before & edge) | (has_after & inner)
