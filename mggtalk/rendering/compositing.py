"""Blends spans front to back into pixels, with a hand-written gradient.

A span is a run of pixels of one image row under one Gaussian, on which log alpha is a parabola: the (Gaussian, tile)
pair of GPU rasterisers, with a tile one pixel high and just as long as the ellipse, so that no pixel is visited in
vain. All (Gaussian, pixel) pairs lie in flat arrays: first span after span, front to back ("span order"), then by one
stable sort pixel after pixel, still front to back ("pixel order"). There the transmittance is a segmented cumulative
sum. The gradient by hand halves the time of forward + backward against autograd's.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

MAX_ALPHA = 0.999  # gsplat 1.5
MIN_TRANSMITTANCE = 1e-4  # a pixel is done before the first Gaussian that would leave no more than this (gsplat 1.5)


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """Runs of pixels that each Gaussian covers, sorted by image, and front to back in each.

    Attributes:
        gaussian: row of the features, ascending.
        first_pixel: index into all pixels of the batch, row-major. length: in pixels.
        num_pixels: of the whole batch.
    """

    gaussian: Int[Tensor, " num_spans"]
    first_pixel: Int[Tensor, " num_spans"]
    length: Int[Tensor, " num_spans"]
    num_pixels: int


class CompositeSpans(torch.autograd.Function):
    """Front-to-back alpha blending of spans; `composite` is its typed face."""

    @staticmethod
    def forward(
        ctx: Any,
        log_peak: Float[Tensor, " num_spans"],
        offset: Float[Tensor, " num_spans"],
        precision: Float[Tensor, " num_spans"],
        features: Float[Tensor, "num_gaussians features"],
        spans: Spans,
    ) -> Float[Tensor, "num_pixels features"]:
        """Return the blended features of every pixel."""
        span = torch.repeat_interleave(spans.length.int())
        index = torch.arange(len(span), device=span.device, dtype=torch.int32)
        start = (spans.length.cumsum(0) - spans.length).int()
        pixel = (spans.first_pixel.int() - start).index_select(0, span).add_(index)
        step = index.sub_(start.index_select(0, span))  # pixels from the start of the span
        distance = offset.index_select(0, span).add_(step)
        log_drop = distance.square().mul_((0.5 * precision).index_select(0, span))
        alpha = log_peak.index_select(0, span).sub_(log_drop).exp_().clamp_(max=MAX_ALPHA)

        sorted_pixel, order = torch.sort(pixel, stable=True)
        end = torch.bincount(sorted_pixel, minlength=spans.num_pixels).cumsum(0)
        alpha = alpha.index_select(0, order)
        weight = _weights(alpha, sorted_pixel, end)
        gaussian = spans.gaussian.int().index_select(0, span).index_select(0, order)
        ctx.spans = spans
        in_pixel_order = sorted_pixel, gaussian, alpha, weight, order, end
        ctx.save_for_backward(precision, features, span, pixel, distance, *in_pixel_order)
        return _weighted_sums(features, gaussian, weight, end)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Float[Tensor, "num_pixels features"]) -> tuple[Tensor | None, ...]:
        """Return the gradients of log peak, offset, precision and features."""
        precision, features, span, pixel, distance, *in_pixel_order = ctx.saved_tensors
        sorted_pixel, gaussian, alpha, weight, order, end = in_pixel_order
        received = weight * _pair_products(grad, features, sorted_pixel, gaussian)
        behind = _segment_suffix(received, sorted_pixel, end)
        # d loss / d log alpha: the Gaussian's own contribution, less the part that it hides of those behind it.
        grad_log_alpha = received.sub_(behind.mul_(alpha).div_(1 - alpha)).masked_fill_(alpha >= MAX_ALPHA, 0)
        grad_log_alpha = torch.empty_like(grad_log_alpha).scatter_(0, order, grad_log_alpha)
        moment = grad_log_alpha * distance
        grad_offset = -precision * _span_sums(moment, span, len(precision))
        grad_precision = -0.5 * _span_sums(moment.mul_(distance), span, len(precision))
        weight = torch.empty_like(weight).scatter_(0, order, weight)
        per_gaussian = torch.zeros(len(features), dtype=torch.int64, device=span.device)
        per_gaussian.index_add_(0, ctx.spans.gaussian, ctx.spans.length)
        grad_features = _weighted_sums(grad.contiguous(), pixel, weight, per_gaussian.cumsum(0))
        return _span_sums(grad_log_alpha, span, len(precision)), grad_offset, grad_precision, grad_features, None


def composite(
    log_peak: Float[Tensor, " num_spans"],
    offset: Float[Tensor, " num_spans"],
    precision: Float[Tensor, " num_spans"],
    features: Float[Tensor, "num_gaussians features"],
    spans: Spans,
) -> Float[Tensor, "num_pixels features"]:
    """Blend features front to back: sum of alpha_i * T_i * features_i with T_i the product of (1 - alpha_j) before i.

    Alpha on pixel number k of a span is exp(log_peak - precision / 2 * (offset + k)^2), at most `MAX_ALPHA`.

    Args:
        offset: from the Gaussian's ridge on this row to the centre of the span's first pixel, px.
        precision: of the Gaussian along the row, px^-2.
    """
    blend: Callable[..., Tensor] = CompositeSpans.apply
    return blend(log_peak, offset, precision, features, spans)


def _weights(alpha: Tensor, pixel: Tensor, end: Tensor) -> Tensor:
    """Return alpha * transmittance of every pair (pixel order); 0 once the pixel is done."""
    log_passed = torch.log1p(-alpha)
    total = _running_total(log_passed)
    before = total.index_select(0, functional.pad(end[:-1], (1, 0)))
    log_remaining = (total[1:] - before.index_select(0, pixel)).to(alpha.dtype)
    done = log_remaining <= math.log(MIN_TRANSMITTANCE)
    return log_remaining.sub_(log_passed).exp_().mul_(alpha).masked_fill_(done, 0)


def _segment_suffix(values: Tensor, pixel: Tensor, end: Tensor) -> Tensor:
    """Return for every pair the sum of the values of its pixel that come after it."""
    total = _running_total(values)
    return total.index_select(0, end).index_select(0, pixel).sub_(total[1:]).to(values.dtype)


def _running_total(values: Tensor) -> Tensor:
    """Return 0 and the cumulative sum over all pixels; in float32 the last pixels would lose their digits."""
    total = torch.zeros(len(values) + 1, dtype=torch.float64, device=values.device)
    torch.cumsum(values, 0, dtype=torch.float64, out=total[1:])
    return total


def _pair_products(grad: Tensor, features: Tensor, pixel: Tensor, gaussian: Tensor) -> Tensor:
    """Return grad[pixel] . features[gaussian] of every pair, channel by channel: that keeps the gathers in cache."""
    product = torch.zeros(len(pixel), dtype=grad.dtype, device=grad.device)
    for of_pixel, of_gaussian in zip(grad.t().contiguous(), features.t().contiguous(), strict=True):
        product.addcmul_(of_pixel.index_select(0, pixel), of_gaussian.index_select(0, gaussian))
    return product


def _weighted_sums(table: Tensor, row: Tensor, weight: Tensor, end: Tensor) -> Tensor:
    """Return for every segment of pairs (which ends at `end`) the weighted sum of its rows of the table."""
    offsets = functional.pad(end, (1, 0)).to(row.dtype)
    return functional.embedding_bag(
        row, table, offsets, mode="sum", per_sample_weights=weight, include_last_offset=True
    )


def _span_sums(values: Tensor, span: Tensor, num_spans: int) -> Tensor:
    return torch.zeros(num_spans, dtype=values.dtype, device=values.device).index_add_(0, span, values)
