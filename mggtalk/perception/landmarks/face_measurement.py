"""What a face measurer reads off one image; kept apart from the backends so that no detector is loaded to name it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32


@dataclass(frozen=True, slots=True, eq=False)
class FaceMeasurement:
    """The face in one image, measured without any other frame.

    Attributes:
        landmarks_px: image positions in pixels of the image that was handed in, pixel centres at +0.5.
        expression: coefficients in [0, 1].
        rotation_deg: yaw, pitch and roll in degrees, 0 where the face looks straight into the camera.
    """

    landmarks_px: Float32[np.ndarray, "num_landmarks 2"]
    expression: Float32[np.ndarray, " num_coefficients"]
    rotation_deg: Float32[np.ndarray, "3"]
