"""Converts boxes of faces from the conventions in use to left, top, right, bottom in pixels."""

import math
from collections.abc import Sequence
from typing import Literal

BoxOrder = Literal["left,top,right,bottom", "x,y,w,h", "top,bottom,left,right", "x,w,y,h"]
"""`x,y` is the left upper corner; the last is HDTF's."""


def ordered_box(values: Sequence[float], order: BoxOrder) -> tuple[float, ...]:
    """Return the four `values`, which stand in `order`, as left, top, right, bottom."""
    first, second, third, fourth = values
    match order:
        case "left,top,right,bottom":
            return first, second, third, fourth
        case "x,y,w,h":
            return first, second, first + third, second + fourth
        case "top,bottom,left,right":
            return third, first, fourth, second
        case "x,w,y,h":
            return first, third, first + second, third + fourth


def box_in_pixels(box: Sequence[float], box_frame: Sequence[float], width: int, height: int) -> tuple[float, ...]:
    """Return a box in pixels of a video, cut at the frame's edges and rounded to hundredths.

    Args:
        box: left, top, right, bottom. box_frame: see `IngestItem`.
        width, height: of the upright frames.

    Returns:
        Left, top, right, bottom; empty if nothing of the box lies in the frame.
    """
    x_scale = y_scale = 1.0
    if box_frame:
        y_scale = height / box_frame[1]
        x_scale = width / box_frame[0] if box_frame[0] else y_scale
    left, top, right, bottom = (
        round(min(max(edge * scale, 0.0), limit), 2)
        for edge, scale, limit in zip(box, (x_scale, y_scale) * 2, (width, height) * 2, strict=True)
    )
    return (left, top, right, bottom) if left < right and top < bottom else ()


def is_box(box: Sequence[float]) -> bool:
    """Tell whether a box (left, top, right, bottom) has finite edges and an area."""
    left, top, right, bottom = box
    return all(map(math.isfinite, box)) and left < right and top < bottom
