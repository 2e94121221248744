"""Measures the face in single images with MediaPipe's FaceLandmarker in image mode, without memory of earlier frames.

Following faces over time would carry a driver's values into a render that is measured after it, so images that are
compared are measured one by one. Small renders are enlarged first, because the detector misses faces at 128 px.
"""

from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np
from jaxtyping import Float32, UInt8
from scipy.spatial.transform import Rotation

from mggtalk.errors import WeightsError
from mggtalk.perception.landmarks.face_measurement import FaceMeasurement
from mggtalk.perception.mediapipe_image import mediapipe_image

MEASURED_SIZE = 256


class MediaPipeFaceMeasurer:
    """Measures 478 landmarks, 52 blendshape scores and the head's rotation of the largest face in an image."""

    name = "mediapipe FaceLandmarker, image mode, at 256 px"

    def __init__(self, model_path: Path) -> None:
        """Load the FaceLandmarker task at `model_path`.

        Raises:
            WeightsError: there is no such file.
        """
        if not model_path.is_file():
            raise WeightsError(f"{model_path}: no such file, expected the FaceLandmarker task")
        from mediapipe.tasks.python import BaseOptions, vision  # noqa: PLC0415  loads for a second

        self._landmarker = vision.FaceLandmarker.create_from_options(
            vision.FaceLandmarkerOptions(
                base_options=BaseOptions(model_asset_path=str(model_path)),
                running_mode=vision.RunningMode.IMAGE,
                num_faces=1,
                output_face_blendshapes=True,
                output_facial_transformation_matrixes=True,
            )
        )

    def __enter__(self) -> Self:
        """Return the measurer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the native detector."""
        self.close()

    def close(self) -> None:
        """Release the native detector."""
        self._landmarker.close()

    def measure(self, image: UInt8[np.ndarray, "height width 3"]) -> FaceMeasurement | None:
        """Measure the face in `image`; return None if no face is found."""
        height, width = image.shape[:2]
        found = self._landmarker.detect(mediapipe_image(enlarged(image)))
        if not found.face_landmarks:
            return None
        landmarks = np.array([(point.x * width, point.y * height) for point in found.face_landmarks[0]], np.float32)
        scores = np.array([category.score for category in found.face_blendshapes[0]], np.float32)
        return FaceMeasurement(landmarks, scores, rotation_angles(np.asarray(found.facial_transformation_matrixes[0])))


def enlarged(image: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "new_height new_width 3"]:
    """Return `image` scaled up (cubic) to `MEASURED_SIZE` on its longer side; larger images stay as they are."""
    longer = max(image.shape[:2])
    if longer >= MEASURED_SIZE:
        return np.ascontiguousarray(image)
    scale = MEASURED_SIZE / longer
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def rotation_angles(face_to_camera: Float32[np.ndarray, "4 4"]) -> Float32[np.ndarray, "3"]:
    """Return yaw, pitch and roll in degrees of MediaPipe's facial transformation matrix (OpenGL axes, y up).

    The rotation is decomposed into yaw about y, then pitch about x, then roll about z, all about the head's own axes.
    """
    # The matrix carries a scale as well; only its nearest rotation counts.
    left, _, right = np.linalg.svd(face_to_camera[:3, :3].astype(np.float64))
    rotation = left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right
    return np.asarray(Rotation.from_matrix(rotation).as_euler("YXZ", degrees=True), np.float32)
