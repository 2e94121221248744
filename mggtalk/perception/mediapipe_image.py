"""Images as MediaPipe takes them."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

if TYPE_CHECKING:
    from mediapipe import Image


def mediapipe_image(image: UInt8[np.ndarray, "height width 3"]) -> "Image":
    """Return `image` (RGB) for a task of MediaPipe."""
    from mediapipe import Image, ImageFormat  # noqa: PLC0415  loads for a second, and brings matplotlib

    return Image(image_format=ImageFormat.SRGB, data=np.ascontiguousarray(image))
