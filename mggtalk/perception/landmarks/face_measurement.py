"""The measurement of a face in one image; apart from the backends, so that importing the type loads no detector."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32


@dataclass(frozen=True, slots=True, eq=False)
class FaceMeasurement:
    """The face in one image, measured without any other frame.

    Attributes:
        landmarks_px: positions in pixels of the measured image, pixel centres at +0.5.
        expression: coefficients in [0, 1].
        rotation_deg: yaw, pitch and roll in degrees, 0 where the face looks straight into the camera.
    """

    landmarks_px: Float32[np.ndarray, "num_landmarks 2"]
    expression: Float32[np.ndarray, " num_coefficients"]
    rotation_deg: Float32[np.ndarray, "3"]
