"""Detects shot cuts by comparing the change between neighbouring frames to the motion just before.

PySceneDetect does this too, but its package brings a second OpenCV distribution that overwrites MediaPipe's.
`benchmarks/shot_cuts.py` measures both; PySceneDetect's plain scores miss jump cuts, which keep person and background.
"""

from collections import deque

import cv2
import numpy as np
from jaxtyping import UInt8

_THUMBNAIL = (32, 32)
_SAMPLES = (128, 128)  # averaging all pixels of a large frame takes many times as long and finds the same cuts
_RECENT = 12  # frames: longer than the pauses of videos that repeat frames, shorter than most shots
_MOTION_FACTOR = 2.0  # even fast motion at most doubles from frame to frame; a cut comes without warning
_UNKNOWN_MOTION = 8.0  # for 12 frames after a cut, in uint8 steps: fast motion of a talking head


class CutDetector:
    """Detects frames that begin a new shot: they differ from the previous frame by more than motion explains.

    The difference is the mean over a small thumbnail. Motion explains up to twice the largest of the last 12
    differences.

    Args:
        threshold: least excess over that, in uint8 steps. Motion of talking heads stays below 5; cuts to other scenes
            reach 20 to 100, jump cuts 2 to 20.

    Source: own; PySceneDetect's AdaptiveDetector compares scores to their neighbours too, but looks ahead.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._previous: np.ndarray | None = None
        self._recent = deque([_UNKNOWN_MOTION], _RECENT)

    def begins_shot(self, image: UInt8[np.ndarray, "height width 3"]) -> bool:
        """Return whether `image` (RGB) begins a shot; the first one does not."""
        samples = cv2.resize(image, _SAMPLES, interpolation=cv2.INTER_NEAREST)
        current = cv2.resize(samples, _THUMBNAIL, interpolation=cv2.INTER_AREA)
        previous, self._previous = self._previous, current
        if previous is None:
            return False
        change = cv2.norm(current, previous, cv2.NORM_L1) / current.size
        begins = change - _MOTION_FACTOR * max(self._recent) >= self._threshold
        if begins:
            self._recent.clear()
        self._recent.append(_UNKNOWN_MOTION if begins else change)
        return begins
