"""Face-identity embeddings with dlib's ResNet; an extra, because its weights of 22 MB come in a package of 100 MB.

Source: D. E. King, "High Quality Face Recognition with Deep Metric Learning", blog.dlib.net, 2017.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from mggtalk.geometry.head.landmark_sets import LandmarkSet, mediapipe_478

CHIP_SIZE = 150
CHIP_PADDING = 0.25
# dlib's five points: outer and inner corner of the eye on the image's right, the same on its left, base of the nose.
FIVE_POINTS = ("left_eye_outer", "left_eye_inner", "right_eye_outer", "right_eye_inner", "nose_base")
# dlib rounds points to whole pixels: enlarging the image first makes the rounding harmless.
WORKING_SIZE = 512


@dataclass(frozen=True, slots=True)
class IdentityUnavailable:
    """Reason why there is no identity encoder; stands in the results in place of a number."""

    reason: str


class DlibIdentityEncoder:
    """Embeds a face as 128 numbers; the cosine between two embeddings is the faces' similarity.

    Args:
        weights: the verified model file; `load_identity_encoder` first checks that it and dlib are available.
        landmarks: the set of the landmarks passed to `encode`.
    """

    name = "dlib_face_recognition_resnet_model_v1"

    def __init__(self, weights: Path, landmarks: LandmarkSet) -> None:
        import dlib  # noqa: PLC0415 - an optional extra

        self._dlib = dlib
        self._landmarks = landmarks
        self._network = dlib.face_recognition_model_v1(str(weights))

    def encode(
        self, image: UInt8[np.ndarray, "height width 3"], landmarks_px: Float[np.ndarray, "num_landmarks 2"]
    ) -> Float32[np.ndarray, "128"]:
        """Return the embedding of the face in `image` whose landmarks are given in pixels (centres at +0.5)."""
        scale = max(1.0, WORKING_SIZE / max(image.shape[:2]))
        enlarged = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        # dlib counts pixel centres from 0.
        points = [
            self._dlib.point(round(x), round(y)) for x, y in five_points(landmarks_px, self._landmarks) * scale - 0.5
        ]
        box = self._dlib.rectangle(0, 0, enlarged.shape[1] - 1, enlarged.shape[0] - 1)
        face = self._dlib.full_object_detection(box, points)
        chip = self._dlib.get_face_chip(np.ascontiguousarray(enlarged), face, CHIP_SIZE, CHIP_PADDING)
        return np.array(self._network.compute_face_descriptor(chip), np.float32)


def load_identity_encoder(
    weights: Path | None, landmarks: LandmarkSet | None = None
) -> DlibIdentityEncoder | IdentityUnavailable:
    """Return dlib's encoder, or the reason why it is unavailable: the package or the weights are missing.

    Args:
        landmarks: the set of the landmarks passed to `encode`; default: MediaPipe's.
    """
    if weights is None:
        return IdentityUnavailable("no identity encoder asked for")
    if importlib.util.find_spec("dlib") is None:
        return IdentityUnavailable("the package dlib is not installed (extra `identity`)")
    if not weights.is_file():
        return IdentityUnavailable(f"the weights dlib_face_recognition are missing ({weights.name})")
    return DlibIdentityEncoder(weights, landmarks or mediapipe_478())


def five_points(landmarks_px: Float[np.ndarray, "num_landmarks 2"], landmarks: LandmarkSet) -> Float[np.ndarray, "5 2"]:
    """Return the five points by which dlib aligns a face.

    Raises:
        ValueError: the number of landmarks is not that of the set.
    """
    expected = (len(landmarks.neutral), 2)
    if landmarks_px.shape != expected:
        raise ValueError(f"expected landmarks of {landmarks.name}, shape {expected}, got shape {landmarks_px.shape}")
    return landmarks_px[[landmarks.points[name] for name in FIVE_POINTS]]
