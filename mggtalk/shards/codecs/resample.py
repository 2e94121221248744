"""Resamples frames of the stored crop to a smaller size, each pixel the mean of the area that it covers.

With pixel centres at +0.5 a change of size only scales pixel coordinates: those of landmarks, and the first two rows of
the intrinsics. Unknown values (0) are left out of the means, so depth and normals do not bleed at their edges.
"""

import math

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from mggtalk.shards.codecs.images import known_normals, unit_or_zero

# The video frame's edge has the rounding error of the similarity transform.
_EDGE_TOLERANCE_PX = 1e-3


def resize_image(image: UInt8[np.ndarray, "stored stored 3"], size: int) -> UInt8[np.ndarray, "size size 3"]:
    """Return `image` at `size` by area means."""
    return _area(image, size)


def resize_mask(mask: Bool[np.ndarray, "stored stored"], size: int) -> Bool[np.ndarray, "size size"]:
    """Return `mask` at `size`: true where the mask covers at least half of a pixel's area."""
    if mask.shape == (size, size):
        return mask
    return _area(mask.astype(np.float32), size) >= np.float32(0.5)


def resize_depth(depth: Float32[np.ndarray, "stored stored"], size: int) -> Float32[np.ndarray, "size size"]:
    """Return `depth` at `size`: the mean of the known depth where it covers at least half of a pixel's area; else 0."""
    if depth.shape == (size, size):
        return depth
    known_fraction = _area((depth > 0).astype(np.float32), size)
    mean: np.ndarray = _area(depth, size) / np.maximum(known_fraction, np.float32(0.5))
    return mean * (known_fraction >= np.float32(0.5))


def resize_normals(normals: Float32[np.ndarray, "stored stored 3"], size: int) -> Float32[np.ndarray, "size size 3"]:
    """Return `normals` at `size`: the mean direction where at least half of a pixel's area is known; else (0, 0, 0)."""
    if normals.shape[:2] == (size, size):
        return normals
    known_fraction = _area(known_normals(normals).astype(np.float32), size)
    return unit_or_zero(cv2.copyTo(_area(normals, size), (known_fraction >= np.float32(0.5)).astype(np.uint8)))


def scale_intrinsics(intrinsics: Float32[np.ndarray, "3 3"], scale: float) -> Float32[np.ndarray, "3 3"]:
    """Return the intrinsics of an image `scale` times the size."""
    return intrinsics * np.array([[scale], [scale], [1]], np.float32)


def valid_mask(
    valid_box: tuple[float, float, float, float], stored_size: int, size: int
) -> Bool[np.ndarray, "size size"]:
    """Return which pixels lie wholly inside `valid_box`.

    Args:
        valid_box: x0, y0, x1, y1 of the video frame's extent in pixels of the stored crop.
    """
    left, top, right, bottom = (edge * size / stored_size for edge in valid_box)
    first_column, first_row = (max(math.ceil(edge - _EDGE_TOLERANCE_PX), 0) for edge in (left, top))
    end_column, end_row = (max(math.floor(edge + _EDGE_TOLERANCE_PX), 0) for edge in (right, bottom))
    valid = np.zeros((size, size), np.bool_)
    valid[first_row:end_row, first_column:end_column] = True
    return valid


def _area(image: np.ndarray, size: int) -> np.ndarray:
    if image.shape[:2] == (size, size):
        return image
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
