"""Shot cuts by the change of colour between neighbouring frames.

PySceneDetect does this job, but its package brings a second OpenCV distribution that overwrites the one of MediaPipe.
"""

import cv2
import numpy as np
from jaxtyping import UInt8

_THUMBNAIL = (64, 36)


class CutDetector:
    """Tells whether a frame begins a new shot: its mean absolute HSV difference to the frame before passes a threshold.

    Args:
        threshold: in uint8 steps; hard cuts score 30 to 100, talking heads 1 to 8.

    Source: the content score of PySceneDetect's ContentDetector, with its default threshold of 27.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._previous: np.ndarray | None = None

    def begins_shot(self, image: UInt8[np.ndarray, "height width 3"]) -> bool:
        """Return whether `image` (RGB) begins a shot; the first one does not."""
        thumbnail = cv2.resize(image, _THUMBNAIL, interpolation=cv2.INTER_AREA)
        current = cv2.cvtColor(thumbnail, cv2.COLOR_RGB2HSV).astype(np.int16)
        previous, self._previous = self._previous, current
        return previous is not None and float(np.abs(current - previous).mean()) >= self._threshold
