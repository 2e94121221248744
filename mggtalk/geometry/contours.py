"""Closed contours in an image."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def inside_contour(
    contour: Float[Tensor, "batch num_corners 2"], height: int, width: int
) -> Bool[Tensor, "batch height width"]:
    """Return which pixel centres lie inside a closed contour: their row crosses it an odd number of times before them.

    Where the contour folds over itself, as a face's oval does in profile, what it goes around twice is outside.

    Args:
        contour: in pixels, centres at +0.5.
    """
    (x1, y1), (x2, y2) = (corners.unsqueeze(-1).unbind(dim=2) for corners in (contour, contour.roll(-1, dims=1)))
    y = torch.arange(height, device=contour.device) + 0.5
    is_crossed = (y1 > y) != (y2 > y)
    # Each crossing is counted once, in the first column at or behind it. The division says nothing for a level edge,
    # which no row crosses.
    column = (x1 + (y - y1) / (y2 - y1) * (x2 - x1) - 0.5).ceil().clamp(0, width).nan_to_num(0.0).long()
    crossings = torch.zeros(len(contour), height, width + 1, dtype=torch.int32, device=contour.device)
    crossings.scatter_add_(2, column.mT, is_crossed.mT.int())
    return crossings.cumsum(dim=2, dtype=torch.int32)[:, :, :width] % 2 == 1
