"""Fits scale and shift of network depth to landmarks, robustly, for a batch of images at once.

A monocular network gives depth, or inverse depth, up to an affine map. A face's mesh covers a part of the image; there
the map is fitted, and holds for the rest of the head. Hands, microphones and hair in front of the face are outliers.

An initial fit that tolerates a fifth of outliers (the Theil-Sen median of slopes, over half as many pairs of points as
there are points, far apart from each other) is refined by least squares with Cauchy weights.

Source: Sen, Estimates of the regression coefficient based on Kendall's tau, JASA 1968; for the weights Holland and
Welsch, Robust regression using iteratively reweighted least-squares, 1977.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_STEPS = 10
_CAUCHY = 2.385  # 95 % efficiency for normal errors
_MAD_TO_DEVIATION = 1.4826
_LEAST_POINTS = 50


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """`scale * predicted + shift` is the anchor.

    Attributes:
        unexplained: median absolute error over that of a constant: 0 for a perfect fit, 1 for a useless one.
        found: False where there are too few points, or no positive scale; the other values are then meaningless.
    """

    scale: Float[Tensor, " batch"]
    shift: Float[Tensor, " batch"]
    unexplained: Float[Tensor, " batch"]
    found: Bool[Tensor, " batch"]


def align(
    predicted: Float[Tensor, "batch num_points"],
    anchor: Float[Tensor, "batch num_points"],
    known: Bool[Tensor, "batch num_points"],
) -> Alignment:
    """Fit scale and shift for each row over the points that are known.

    Args:
        predicted: depth or inverse depth in any unit. anchor: the same kind of quantity in the wanted unit.
    """
    known = known & predicted.isfinite() & anchor.isfinite()
    x = torch.where(known, predicted.double(), 0.0)
    y = torch.where(known, anchor.double(), 0.0)
    scale = _median_slope(x, y, known)
    shift = _median(y - scale[:, None] * x, known)
    for _ in range(_STEPS):
        error = y - scale[:, None] * x - shift[:, None]
        spread = _MAD_TO_DEVIATION * _median(error.abs(), known) + 1e-9 * _median(y.abs(), known) + 1e-12
        weight = known / (1 + (error / (_CAUCHY * spread[:, None])) ** 2)
        scale, shift = _least_squares(x, y, weight)
    error = _median((y - scale[:, None] * x - shift[:, None]).abs(), known)
    unexplained = error / _median((y - _median(y, known)[:, None]).abs(), known)
    found = (known.sum(dim=1) >= _LEAST_POINTS) & scale.isfinite() & shift.isfinite() & (scale > 0)
    return Alignment(scale.to(anchor.dtype), shift.to(anchor.dtype), unexplained.to(anchor.dtype), found)


def _median_slope(
    x: Float[Tensor, "batch num_points"], y: Float[Tensor, "batch num_points"], known: Bool[Tensor, "batch num_points"]
) -> Float[Tensor, " batch"]:
    """Return the median slope between the points of the lower and of the upper half, paired in the order of x."""
    order = torch.where(known, x, torch.inf).argsort(dim=1)
    x, y = x.gather(1, order), y.gather(1, order)
    half = known.sum(dim=1, keepdim=True) // 2
    index = torch.arange(x.shape[1] // 2, device=x.device).expand(len(x), -1)
    partner = torch.minimum(index + half, torch.full_like(index, x.shape[1] - 1))
    first_x, first_y = x[:, : index.shape[1]], y[:, : index.shape[1]]
    run = x.gather(1, partner) - first_x
    slope = (y.gather(1, partner) - first_y) / run
    return _median(slope, (index < half) & (run > 0))


def _median(
    values: Float[Tensor, "batch num_points"], known: Bool[Tensor, "batch num_points"]
) -> Float[Tensor, " batch"]:
    return torch.where(known, values, torch.nan).nanmedian(dim=1).values


def _least_squares(
    x: Float[Tensor, "batch num_points"],
    y: Float[Tensor, "batch num_points"],
    weight: Float[Tensor, "batch num_points"],
) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    total = weight.sum(dim=1)
    mean_x, mean_y = (weight * x).sum(dim=1) / total, (weight * y).sum(dim=1) / total
    centered = x - mean_x[:, None]
    scale = (weight * centered * (y - mean_y[:, None])).sum(dim=1) / (weight * centered**2).sum(dim=1)
    return scale, mean_y - scale * mean_x
