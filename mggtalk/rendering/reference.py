"""Rasteriser in plain torch: differentiable, fast on one CPU core, and the oracle of the gsplat path.

    project (projection.py) -> sort by depth -> cut each ellipse into spans of pixels -> blend (compositing.py)

The whole batch goes through in one piece. Every image row cuts a screen Gaussian into a 1D Gaussian, whose peak falls
off with the distance of the row. So everything up to the rows is cheap and left to autograd; only the blending of the
pixels has its gradient written by hand.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mggtalk.rendering.compositing import Spans, composite
from mggtalk.rendering.gaussians import Gaussians
from mggtalk.rendering.projection import MIN_ALPHA, project


def rasterize_reference(
    gaussians: Gaussians,
    world_to_camera: Float[Tensor, "batch 4 4"],
    intrinsics: Float[Tensor, "batch 3 3"],
    size: tuple[int, int],
    planes: tuple[float, float],
) -> Float[Tensor, "batch height width features"]:
    """Return colors, alpha and accumulated depth of every pixel, in this order, as the last axis.

    Args:
        size: height and width of the image in pixels. planes: near and far plane, cm.
    """
    height, width = size
    batch, num_gaussians = gaussians.opacities.shape
    screen = project(gaussians, world_to_camera, intrinsics, size, planes)
    order = _front_to_back(screen.depth, screen.visible)
    centers = screen.x, screen.y, screen.depth
    shapes = screen.slope, screen.variance_x, screen.variance_y, gaussians.opacities
    x, y, depth, slope, variance_x, variance_y, opacity = (values.flatten()[order] for values in (*centers, *shapes))
    precision_x, precision_y, log_opacity = 1 / variance_x, 1 / variance_y, opacity.log()
    # The squared Mahalanobis distance at which alpha falls to MIN_ALPHA: the edge of the ellipse.
    reach = (2 * (log_opacity - math.log(MIN_ALPHA))).detach()

    first_row, num_rows = _cells(y, (reach * variance_y).sqrt(), height)
    of_row = torch.repeat_interleave(num_rows)
    row = first_row.index_select(0, of_row) + _position_in_run(num_rows, of_row)
    distance_y = row + 0.5 - y.index_select(0, of_row)
    ridge = x.index_select(0, of_row) + slope.index_select(0, of_row) * distance_y
    drop = precision_y.index_select(0, of_row) * distance_y.square()
    precision = precision_x.index_select(0, of_row)
    half_width = ((reach.index_select(0, of_row) - drop).clamp(min=0) / precision).sqrt()
    first_column, length = _cells(ridge, half_width, width)
    image = order.index_select(0, of_row).div(num_gaussians, rounding_mode="floor")
    spans = Spans(of_row, (image * height + row) * width + first_column, length, batch * height * width)

    log_peak = log_opacity.index_select(0, of_row) - 0.5 * drop
    colors = gaussians.colors.flatten(0, 1)[order]
    features = torch.cat([colors, torch.ones_like(depth)[:, None], depth[:, None]], dim=1)
    pixels = composite(log_peak, first_column + 0.5 - ridge, precision, features, spans)
    return pixels.reshape(batch, height, width, features.shape[1])


def _front_to_back(
    depth: Float[Tensor, "batch num_gaussians"], visible: Bool[Tensor, "batch num_gaussians"]
) -> Int[Tensor, " num_visible"]:
    """Return the visible Gaussians as indices into the flat batch: image by image, near to far, ties as they come."""
    order = torch.argsort(depth.detach(), dim=1, stable=True)
    order += torch.arange(len(depth), device=depth.device)[:, None] * depth.shape[1]
    order = order.flatten()
    return order[visible.flatten()[order]]


@torch.no_grad()
def _cells(
    center: Float[Tensor, " num"], radius: Float[Tensor, " num"], extent: int
) -> tuple[Int[Tensor, " num"], Int[Tensor, " num"]]:
    """Return the first of the cells 0 ... extent - 1 whose centre (+0.5) lies within `radius`, and how many do."""
    first = (center - radius - 0.5).ceil().clamp(0, extent)
    last = (center + radius - 0.5).floor().clamp(-1, extent - 1)
    return first.long(), (last - first + 1).clamp(min=0).long()


def _position_in_run(length: Int[Tensor, " num"], run: Int[Tensor, " total"]) -> Int[Tensor, " total"]:
    """Return 0, 1, ... length - 1 for every run in turn; `run` is the run of each element."""
    start = length.cumsum(0) - length
    return torch.arange(len(run), device=run.device) - start[run]
