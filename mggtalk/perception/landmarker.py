"""What every landmark backend gives and how it is asked; a track stage knows no more of a landmarker than this."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float32, Float64, UInt8


@dataclass(frozen=True, slots=True, eq=False)
class FaceDetection:
    """One face of one frame.

    Attributes:
        landmarks: x, y in pixels of the image, centres at +0.5; z in the same unit, relative, smaller nearer.
        expression: coefficients in [0, 1]; empty where the backend gives none.
    """

    landmarks: Float64[np.ndarray, "num_landmarks 3"]
    expression: Float32[np.ndarray, " num_coefficients"]

    @property
    def box(self) -> Float64[np.ndarray, " 4"]:
        """Bounding box of the landmarks: left, top, right, bottom in pixels."""
        return np.concatenate((self.landmarks[:, :2].min(axis=0), self.landmarks[:, :2].max(axis=0)))

    @property
    def size(self) -> float:
        """Side of the square with the area of the bounding box, in pixels."""
        left, top, right, bottom = self.box
        return float(np.sqrt(max(right - left, 0.0) * max(bottom - top, 0.0)))


class Landmarker(Protocol):
    """Finds the faces of one video's frames in order; make a new one for every video."""

    landmark_set: str
    expression_names: tuple[str, ...]
    """Known once the first face is found; () where the backend gives no coefficients."""

    def detect(self, image: UInt8[np.ndarray, "height width 3"], step_ms: int = 40) -> list[FaceDetection]:
        """Return the faces of `image` (RGB), `step_ms` after the image before."""
        ...

    def close(self) -> None:
        """Release what is native."""
        ...
