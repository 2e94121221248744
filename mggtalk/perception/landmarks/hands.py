"""Measures the fraction of a face that hands cover, with MediaPipe's HandLandmarker on a region around the face."""

import io
import zipfile
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from mggtalk.perception.mediapipe_image import mediapipe_image

_GRID = 64
"""Side of the raster on which areas are counted: steps of 0.1 % of a face."""
_VIEW = 3.5
"""Side of the region over that of the face: it contains a hand at the chin down to the wrist."""
_MAX_HANDS = 2
_LEAST_DETECTION = 0.25
"""Half of the task's default, because a hand on a face scores less than a free one. It gave no false hands in some 200
frames of five people who show none."""


_NOBODY = np.zeros((64, 64, 3), np.uint8)


class HandFinder:
    """Finds hands in front of the face of a video, and follows them; call `forget` before each video.

    Following is needed to find a hand that lies on a face: in single frames the task finds it in 4 of 17.

    Args:
        palm_path: the verified `palm_detection_full.tflite`.
        hand_path: the verified `hand_landmark_lite.tflite`.
    """

    def __init__(self, palm_path: Path, hand_path: Path) -> None:
        from mediapipe.tasks.python import BaseOptions, vision  # noqa: PLC0415  loads for a second

        self._landmarker = vision.HandLandmarker.create_from_options(
            vision.HandLandmarkerOptions(
                base_options=BaseOptions(model_asset_buffer=_bundle(palm_path, hand_path)),
                running_mode=vision.RunningMode.VIDEO,
                num_hands=_MAX_HANDS,
                min_hand_detection_confidence=_LEAST_DETECTION,
            )
        )
        self._looks = 0

    def forget(self) -> None:
        """Forget all hands, so that the next frames give the results of a new finder."""
        self._look(_NOBODY)

    def covered_fraction(
        self, image: UInt8[np.ndarray, "height width 3"], outline: Float[np.ndarray, "num_points 2"]
    ) -> float:
        """Return the fraction, 0 to 1, of the face within `outline` (pixels) that the hands' convex hulls cover."""
        low, high = outline.min(axis=0), outline.max(axis=0)
        half = 0.5 * _VIEW * float((high - low).max())
        middle = (low + high) / 2
        height, width = image.shape[:2]
        left, top = np.clip(middle - half, 0, (width - 2, height - 2)).astype(int)
        right, bottom = np.clip(middle + half, (left + 2, top + 2), (width, height)).astype(int)
        view = np.ascontiguousarray(image[top:bottom, left:right])
        return covered_fraction(outline, [hand + np.array([left, top]) for hand in self._look(view)])

    def _look(self, image: UInt8[np.ndarray, "height width 3"]) -> list[Float[np.ndarray, "num_joints 2"]]:
        frame = mediapipe_image(image)
        self._looks += 1  # the task requires rising timestamps, and uses them for nothing else
        found = self._landmarker.detect_for_video(frame, self._looks)
        size = image.shape[1], image.shape[0]
        return [np.array([(point.x, point.y) for point in hand]) * size for hand in found.hand_landmarks]


def covered_fraction(
    outline: Float[np.ndarray, "num_points 2"], hands: list[Float[np.ndarray, "num_joints 2"]]
) -> float:
    """Return the fraction of the area within `outline` that lies in the convex hulls of `hands`."""
    low, extent = outline.min(axis=0), np.maximum(np.ptp(outline, axis=0), 1e-6)

    def raster(points: Float[np.ndarray, "num_points 2"]) -> UInt8[np.ndarray, "grid grid"]:
        mask = np.zeros((_GRID, _GRID), np.uint8)
        cells = ((points - low) / extent * (_GRID - 1)).round().astype(np.int32)
        cv2.fillConvexPoly(mask, cv2.convexHull(cells), 1)
        return mask

    face, covered = raster(outline), np.zeros((_GRID, _GRID), np.uint8)
    for hand in hands:
        covered |= raster(hand)
    return float((face & covered).sum() / face.sum())


def _bundle(palm_path: Path, hand_path: Path) -> bytes:
    """Return the two networks as the archive that the task expects."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as bundle:
        bundle.write(palm_path, "hand_detector.tflite")
        bundle.write(hand_path, "hand_landmarks_detector.tflite")
    return archive.getvalue()
