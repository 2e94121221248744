"""What is seen in the frames of a video, one after the other: the main face, others, hands, cuts, sharpness.

The main face is the largest where a shot begins (or the one in the box that the recipe states), and is followed from
then on. Others are counted; one of a size comparable to the main face makes a frame unusable, unless a box says whom
the video is about.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from mggtalk.geometry.head.landmark_sets import LandmarkSet
from mggtalk.perception.landmarks.protocol import FaceDetection
from mggtalk.records import RejectReason
from mggtalk.stages.track.clip_segmentation import FrameStatus

_SHARPNESS_SIZE = (96, 96)
_HANDS_CLOSE_FRAMES = 5
"""Frames between two looks for hands while some are before the face."""


@dataclass(frozen=True, slots=True)
class FrameLimits:
    """What makes a frame unusable; see `TrackConfig`."""

    min_face_px: float
    second_face_ratio: float
    min_sharpness: float
    max_hand_over_face: float


@dataclass(frozen=True, slots=True, eq=False)
class FrameObservation:
    """What is seen in one resampled frame.

    Attributes:
        status: whether it can be used so far, and whether a cut or another face begins a new run.
        landmarks, expression: of the main face, as in `FaceDetection`; None where there is no face.
        face_size, sharpness, hand_over_face, num_faces: see `records.ClipTrack`.
    """

    status: FrameStatus
    landmarks: Float32[np.ndarray, "num_landmarks 3"] | None = None
    expression: Float32[np.ndarray, " num_coefficients"] | None = None
    face_size: float = 0.0
    sharpness: float = 0.0
    hand_over_face: float = 0.0
    num_faces: int = 0


class Faces(Protocol):
    """Finds faces; see `FaceFinder`."""

    @property
    def background_faces(self) -> tuple[float, ...]:
        """Sizes of faces that stand aside."""
        ...

    def detect(self, image: UInt8[np.ndarray, "height width 3"], step_ms: int) -> list[FaceDetection]:
        """Return the faces of `image`."""
        ...


class Hands(Protocol):
    """Finds hands before a face; see `HandFinder`."""

    def forget(self) -> None:
        """Forget all hands."""
        ...

    def covered_fraction(
        self, image: UInt8[np.ndarray, "height width 3"], outline: Float[np.ndarray, "num_points 2"]
    ) -> float:
        """Return the share of the face that hands cover."""
        ...


class Cuts(Protocol):
    """Finds cuts; see `CutDetector`."""

    def begins_shot(self, image: UInt8[np.ndarray, "height width 3"]) -> bool:
        """Return whether `image` begins a shot."""
        ...


class FrameObserver:
    """Looks at one video's frames in order.

    Args:
        hands: None if nobody looks for hands; then no frame is told to have any.
        hands_every: frames between two looks for hands where none are before the face.
        box: of the main face, as in `VideoRecord`; empty if not stated.
        step_ms: between two frames.
    """

    def __init__(
        self,
        limits: FrameLimits,
        finder: Faces,
        hands: Hands | None,
        landmarks: LandmarkSet,
        cuts: Cuts,
        *,
        hands_every: int,
        box: tuple[float, ...],
        step_ms: int,
    ) -> None:
        self._limits = limits
        self._finder = finder
        self._hands = hands
        if hands is not None:
            hands.forget()
        self._outline = list(landmarks.contours["face_oval"])
        self._cuts = cuts
        self._hands_every = hands_every
        self._box = np.array(box)
        self._step_ms = step_ms
        self._previous: Float[np.ndarray, " 4"] | None = None
        self._hand_over_face = 0.0
        self._until_hands = 0

    def observe(self, image: UInt8[np.ndarray, "height width 3"]) -> FrameObservation:
        """Return what is seen in `image` (RGB), the frame after the one before."""
        cut = self._cuts.begins_shot(image)
        faces = self._finder.detect(image, self._step_ms)
        others = [*(face.size for face in faces), *self._finder.background_faces]
        if not faces:
            self._previous = None
            return FrameObservation(FrameStatus(RejectReason.NO_FACE, cut), num_faces=len(others))
        main, followed = self._main_face(faces, cut)
        others.remove(main.size)
        self._previous = main.box
        if not followed:
            self._until_hands = 0
        sharpness = _sharpness(image, main)
        hand_over_face = self._look_for_hands(image, main)
        return FrameObservation(
            FrameStatus(self._fault(main, others, sharpness, hand_over_face), not followed),
            main.landmarks.astype(np.float32),
            main.expression,
            main.size,
            sharpness,
            hand_over_face,
            1 + len(others),
        )

    def _main_face(self, faces: Sequence[FaceDetection], cut: bool) -> tuple[FaceDetection, bool]:
        """Return the main face, and whether it is that of the frame before."""
        if self._previous is not None and not cut:
            nearest = max(faces, key=lambda face: _overlap(face.box, self._previous))
            if _overlap(nearest.box, self._previous) > 0:
                return nearest, True
        if len(self._box):
            return max(faces, key=lambda face: _overlap(face.box, self._box)), False
        return max(faces, key=lambda face: face.size), False

    def _fault(
        self, main: FaceDetection, others: Sequence[float], sharpness: float, hand_over_face: float
    ) -> RejectReason | None:
        limits = self._limits
        if not len(self._box) and any(size >= limits.second_face_ratio * main.size for size in others):
            return RejectReason.MULTIPLE_FACES
        if main.size < limits.min_face_px:
            return RejectReason.FACE_TOO_SMALL
        if sharpness < limits.min_sharpness:
            return RejectReason.BLURRED
        return RejectReason.HAND_OVER_FACE if hand_over_face > limits.max_hand_over_face else None

    def _look_for_hands(self, image: UInt8[np.ndarray, "height width 3"], main: FaceDetection) -> float:
        """Return the share of the face that hands cover, as of the last look."""
        if self._hands is None:
            return 0.0
        if self._until_hands == 0:
            self._hand_over_face = self._hands.covered_fraction(image, main.landmarks[self._outline, :2])
            self._until_hands = (
                min(_HANDS_CLOSE_FRAMES, self._hands_every) if self._hand_over_face else self._hands_every
            )
        self._until_hands -= 1
        return self._hand_over_face


def _overlap(one: Float[np.ndarray, " 4"], other: Float[np.ndarray, " 4"] | None) -> float:
    """Return the area that two boxes share; neighbouring frames of one face always share some."""
    if other is None:
        return 0.0
    extent = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    return float(extent[0] * extent[1]) if (extent > 0).all() else 0.0


def _sharpness(image: UInt8[np.ndarray, "height width 3"], face: FaceDetection) -> float:
    """Return the variance of the Laplacian of the face's green values, brought to one size so that faces compare."""
    height, width = image.shape[:2]
    left, top = np.clip(face.box[:2], 0, (width - 2, height - 2)).astype(int)
    right, bottom = np.clip(face.box[2:], (left + 2, top + 2), (width, height)).astype(int)
    face_image = cv2.resize(image[top:bottom, left:right, 1], _SHARPNESS_SIZE, interpolation=cv2.INTER_AREA)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(face_image, cv2.CV_32F))
    return float(deviation[0, 0]) ** 2
