"""Converts images to MediaPipe's type; apart from the backends, so that importing them does not load MediaPipe."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

if TYPE_CHECKING:
    from mediapipe import Image


def mediapipe_image(image: UInt8[np.ndarray, "height width 3"]) -> "Image":
    """Return `image` (RGB) as the input of a MediaPipe task."""
    from mediapipe import Image, ImageFormat  # noqa: PLC0415  loads for a second, and brings matplotlib

    return Image(image_format=ImageFormat.SRGB, data=np.ascontiguousarray(image))
