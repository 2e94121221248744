"""Landmarks and expression of the faces in a video: MediaPipe's FaceLandmarker task, 478 points and 52 blendshapes.

The video mode follows faces from frame to frame. It looks for up to `MAX_FACES` faces, which tells a crowd from a
single speaker and costs 4 % (84.6 against 88.2 frames/s on one core at 640x360). With more than one it does not smooth
over time, so a frame depends on earlier ones only through the region where its face is searched.
"""

from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from jaxtyping import UInt8

from mggtalk.perception.landmarks.protocol import FaceDetection
from mggtalk.perception.mediapipe_image import mediapipe_image

if TYPE_CHECKING:
    from mediapipe.tasks.python import vision

MAX_FACES = 3
"""More than one, to tell crowds from single speakers; each further face in a frame costs another network run."""


_POSITION = attrgetter("x", "y", "z")


_NOBODY = np.zeros((64, 64, 3), np.uint8)


class FaceLandmarker:
    """Follows the faces of a video; see `Landmarker`.

    Args:
        model_path: the verified `face_landmarker.task`.
        video: follow faces through consecutive frames; otherwise treat every image by itself.
    """

    landmark_set = "mediapipe_478"

    def __init__(self, model_path: Path, *, video: bool = True) -> None:
        from mediapipe.tasks.python import BaseOptions, vision  # noqa: PLC0415  loads for a second

        self._video = video
        self._landmarker = vision.FaceLandmarker.create_from_options(
            vision.FaceLandmarkerOptions(
                base_options=BaseOptions(model_asset_buffer=model_path.read_bytes()),
                running_mode=vision.RunningMode.VIDEO if video else vision.RunningMode.IMAGE,
                num_faces=MAX_FACES,
                output_face_blendshapes=True,
            )
        )
        self._timestamp_ms = 0
        self.expression_names: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Release native memory."""
        self._landmarker.close()

    def forget(self) -> None:
        """Forget all faces by showing an empty frame, in a tenth of the time of a new landmarker."""
        self.detect(_NOBODY)

    def detect(self, image: UInt8[np.ndarray, "height width 3"], step_ms: int = 40) -> list[FaceDetection]:
        """Return the faces of `image` (RGB), `step_ms` after the image before."""
        frame = mediapipe_image(image)
        if self._video:
            found = self._landmarker.detect_for_video(frame, self._timestamp_ms)
            self._timestamp_ms += step_ms
        else:
            found = self._landmarker.detect(frame)
        if found.face_blendshapes and not self.expression_names:
            self.expression_names = tuple(category.category_name for category in found.face_blendshapes[0])
        return list(self._faces(found, image.shape[1], image.shape[0]))

    @staticmethod
    def _faces(found: "vision.FaceLandmarkerResult", width: int, height: int) -> Iterator[FaceDetection]:
        for points, shapes in zip(found.face_landmarks, found.face_blendshapes, strict=True):
            normalized = np.array(list(map(_POSITION, points)), dtype=np.float64)
            yield FaceDetection(
                landmarks=normalized * (width, height, width),
                expression=np.array([category.score for category in shapes], dtype=np.float32),
            )
