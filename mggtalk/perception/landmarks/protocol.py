"""The protocol of landmark backends, and the detections that they return."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from jaxtyping import Float32, Float64, UInt8


@dataclass(frozen=True, eq=False)
class FaceDetection:
    """One face of one frame.

    Attributes:
        landmarks: x, y in pixels of the frame, centres at +0.5, and z in the same unit, relative to the face; smaller
            is nearer.
        expression: coefficients in [0, 1]; empty if the backend gives none.
    """

    landmarks: Float64[np.ndarray, "num_landmarks 3"]
    expression: Float32[np.ndarray, " num_coefficients"]

    @cached_property
    def box(self) -> Float64[np.ndarray, " 4"]:
        """Bounding box of the landmarks: left, top, right, bottom in pixels."""
        return np.concatenate((self.landmarks[:, :2].min(axis=0), self.landmarks[:, :2].max(axis=0)))

    @cached_property
    def size(self) -> float:
        """Side of the square with the area of the bounding box, in pixels."""
        left, top, right, bottom = self.box
        return float(np.sqrt(max(right - left, 0.0) * max(bottom - top, 0.0)))

    def shifted(self, left: float, top: float) -> "FaceDetection":
        """Return a face in a region in pixels of the frame, in which the region begins at `left` and `top`."""
        return FaceDetection(self.landmarks + np.array([left, top, 0.0]), self.expression)


class Landmarker(Protocol):
    """Finds the faces of a video's frames in order, and may follow them; call `forget` before each video.

    Attributes:
        landmark_set: name of the points' set in `landmark_sets`.
        expression_names: of the coefficients; empty before the first face, and if the backend gives none.
    """

    landmark_set: str
    expression_names: tuple[str, ...]

    def detect(self, image: UInt8[np.ndarray, "height width 3"], step_ms: int = 40) -> list[FaceDetection]:
        """Return the faces of `image` (RGB), `step_ms` after the image before, in no particular order."""
        ...

    def forget(self) -> None:
        """Forget all faces, so that the next frames give the results of a new landmarker."""
        ...

    def close(self) -> None:
        """Release native memory."""
        ...
