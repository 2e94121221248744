"""Finds the faces of a video at any size: runs the landmarker on whole frames, or on a region around a small face.

FaceLandmarker's own detector misses a face of 184 px in a 1920x1080 frame. If the landmarker finds no face, the
full-range detector runs, and from then on the landmarker gets a region in which that face is large.
"""

from collections import deque
from typing import Protocol

import numpy as np
from jaxtyping import UInt8

from mggtalk.perception.landmarks.face_detector import FaceBox
from mggtalk.perception.landmarks.protocol import FaceDetection, Landmarker

_DETECT_EVERY = 5
"""Frames without a face between two runs of the detector, which takes as long as the landmarker."""
_LOOK_EVERY = 12
"""Frames between two detections of the faces outside the region."""
_REMEMBERED_LOOKS = 4
"""Number of such detections that are remembered, because the detector misses a small face now and then."""
_REGION_SIDE = 2.5
"""Side of the region over that of the face: best for FaceLandmarker's detector, with room to move."""
_EDGE = 0.25
"""A face closer to the border of its region than this fraction of its size gets a new region."""
_BOX_MARGIN = 0.25
"""Margin on each side of a stated box, as a fraction: some lists state the face, others a window around the head."""

Region = tuple[int, int, int, int]


class FaceBoxes(Protocol):
    """A detector of faces; see `face_detector`."""

    def detect(self, image: UInt8[np.ndarray, "height width 3"]) -> list[FaceBox]:
        """Return the faces of `image`, the largest first."""
        ...


class FaceFinder:
    """Finds the faces of one video's frames in order.

    Args:
        landmarker: its memory of faces is cleared whenever the region changes.
        detector: runs where the landmarker finds no face.
        box: left, top, right, bottom in pixels of the only part of the frame to search; empty: all of it.
    """

    def __init__(self, landmarker: Landmarker, detector: FaceBoxes, box: tuple[float, ...] = ()) -> None:
        landmarker.forget()
        self._landmarker = landmarker
        self._detector = detector
        self._box = box
        self._region: Region | None = None
        self._misses = 0
        self._since_look = 0
        self._looks: deque[tuple[float, ...]] = deque(maxlen=_REMEMBERED_LOOKS)

    @property
    def background_faces(self) -> tuple[float, ...]:
        """Sizes in pixels of the faces outside the region: those of the remembered detection with most of them."""
        return max(self._looks, key=len, default=())

    def detect(self, image: UInt8[np.ndarray, "height width 3"], step_ms: int) -> list[FaceDetection]:
        """Return the faces of `image` (RGB), in its pixels, `step_ms` after the image before."""
        height, width = image.shape[:2]
        whole = _padded(self._box, width, height) if self._box else (0, 0, width, height)
        faces = self._look(image, self._region or whole, step_ms)
        if faces:
            self._misses = 0
            self._keep_in_view(image, whole, faces)
            return faces
        is_due = self._misses % _DETECT_EVERY == 0
        self._misses += 1
        if is_due and self._find_region(image, whole):
            return self._look(image, self._region or whole, step_ms)
        return []

    def _look(self, image: UInt8[np.ndarray, "height width 3"], region: Region, step_ms: int) -> list[FaceDetection]:
        left, top, right, bottom = region
        faces = self._landmarker.detect(image[top:bottom, left:right], step_ms)
        return [face.shifted(left, top) for face in faces if face.size > 0]  # false for NaN, too

    def _keep_in_view(
        self, image: UInt8[np.ndarray, "height width 3"], whole: Region, faces: list[FaceDetection]
    ) -> None:
        """Move the region along with its face, and detect the background faces now and then."""
        if self._region is None:
            return
        self._since_look += 1
        main = max(faces, key=lambda face: face.size)
        region = np.array(self._region)
        inner = region + np.array([1, 1, -1, -1]) * _EDGE * main.size
        at_frame = region == np.array(whole)  # the region cannot move beyond the frame
        outside = np.array([*(main.box[:2] < inner[:2]), *(main.box[2:] > inner[2:])])
        if (outside & ~at_frame).any():
            self._enter(_square(FaceBox(*main.box), whole))
        if self._since_look >= _LOOK_EVERY:
            self._count_background_faces(self._boxes(image, whole))

    def _find_region(self, image: UInt8[np.ndarray, "height width 3"], whole: Region) -> bool:
        boxes = self._boxes(image, whole)
        if not boxes:
            if self._region is not None:
                self._enter(None)
            self._looks.clear()
            return False
        self._enter(_square(boxes[0], whole))
        self._count_background_faces(boxes)
        return True

    def _boxes(self, image: UInt8[np.ndarray, "height width 3"], whole: Region) -> list[FaceBox]:
        left, top, right, bottom = whole
        found = self._detector.detect(image[top:bottom, left:right])
        return [FaceBox(box.left + left, box.top + top, box.right + left, box.bottom + top) for box in found]

    def _count_background_faces(self, boxes: list[FaceBox]) -> None:
        self._since_look = 0
        self._looks.append(tuple(box.size for box in boxes if self._region and not _within(box, self._region)))

    def _enter(self, region: Region | None) -> None:
        self._landmarker.forget()
        self._region = region


def _padded(box: tuple[float, ...], width: int, height: int) -> Region:
    left, top, right, bottom = box
    margin = _BOX_MARGIN * max(right - left, bottom - top)
    low = np.clip((left - margin, top - margin), 0, (width - 1, height - 1)).astype(int)
    high = np.clip((right + margin, bottom + margin), low + 1, (width, height)).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _square(box: FaceBox, whole: Region) -> Region:
    """Return the square around a face, clipped to `whole`."""
    half = 0.5 * _REGION_SIDE * max(box.right - box.left, box.bottom - box.top)
    middle = np.array([box.left + box.right, box.top + box.bottom]) / 2
    low = np.clip(middle - half, whole[:2], np.array(whole[2:]) - 1).astype(int)
    high = np.clip(middle + half, low + 1, whole[2:]).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _within(box: FaceBox, region: Region) -> bool:
    """Return whether the centre of a face lies in a region, where the landmarker sees it."""
    left, top, right, bottom = region
    column, row = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    return left <= column < right and top <= row < bottom
