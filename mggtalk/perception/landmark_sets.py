"""Landmark sets: names, mirror twins, mesh and contours of the points that a landmark backend gives."""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from jaxtyping import Float64, Int64

EYE_DISTANCE_CM = 8.9
"""Distance between the outer eye corners, which fixes the scale of head space; MediaPipe's canonical face has it."""


@dataclass(frozen=True, slots=True, eq=False)
class LandmarkSet:
    """The points of one landmark backend.

    Attributes:
        points: name -> index of single landmarks. contours: name -> indices in order around a closed contour.
        mirror: index of each landmark's twin across the symmetry plane.
        triangles: the surface mesh over the landmarks.
        neutral: a symmetric neutral shape in head space, cm, which fixes origin and axes of head space.
        alignment_weights: 1 for landmarks that a rigid alignment may use, 0 for those that move by themselves.
    """

    name: str
    points: dict[str, int]
    contours: dict[str, tuple[int, ...]]
    mirror: Int64[np.ndarray, " num_landmarks"]
    triangles: Int64[np.ndarray, "num_triangles 3"]
    neutral: Float64[np.ndarray, "num_landmarks 3"]
    alignment_weights: Float64[np.ndarray, " num_landmarks"]

    @property
    def eye_corners(self) -> tuple[int, int]:
        """The outer corners of the right and the left eye."""
        return self.points["right_eye_outer"], self.points["left_eye_outer"]


@cache
def mediapipe_478() -> LandmarkSet:
    """Return the 478 points of MediaPipe's FaceLandmarker: its 468-vertex face mesh and two iris rings."""
    content = json.loads(resources.files("mggtalk.perception").joinpath("mediapipe_478.json").read_text("utf-8"))
    weights = np.ones(len(content["neutral"]))
    weights[468:] = 0.0  # the irises turn with the gaze
    return LandmarkSet(
        name=content["name"],
        points=content["points"],
        contours={name: tuple(indices) for name, indices in content["contours"].items()},
        mirror=np.array(content["mirror"]),
        triangles=np.array(content["triangles"]),
        neutral=np.array(content["neutral"]),
        alignment_weights=weights,
    )


_SETS = {"mediapipe_478": mediapipe_478}


def landmark_set(name: str) -> LandmarkSet:
    """Return the landmark set called `name`, as tracks and shards record it.

    Raises:
        KeyError: no backend gives such a set.
    """
    return _SETS[name]()
