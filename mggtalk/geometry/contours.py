"""Closed contours in an image."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def inside_contour(
    contour: Float[Tensor, "batch num_corners 2"], points: Float[Tensor, "rows columns 2"]
) -> Bool[Tensor, "batch rows columns"]:
    """Return which points of a grid lie inside a closed contour: a ray from there crosses it an odd number of times.

    Where the contour folds over itself, as a face's oval does in profile, what it goes around twice is outside.
    """
    (x1, y1), (x2, y2) = (corners.unsqueeze(-1).unbind(dim=2) for corners in (contour, contour.roll(-1, dims=1)))
    x, y = points[0, :, 0], points[:, 0, 1]
    is_beside = (y1 > y) != (y2 > y)
    # Where an edge is level no ray crosses it, and the division says nothing.
    crossing = torch.where(is_beside, x1 + (y - y1) / (y2 - y1) * (x2 - x1), -torch.inf)
    return (x < crossing.unsqueeze(-1)).sum(dim=1) % 2 == 1
