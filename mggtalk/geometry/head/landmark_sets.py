"""Landmark sets: names, mirrored pairs, surface and contours of the points that a landmark backend gives.

Points and contours of two sets have the same names where they are the same, so callers ask by name and take any set.
"""

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int64
from scipy.interpolate import RBFInterpolator

from mggtalk.errors import StageError

EYE_DISTANCE_CM = 8.9
"""Distance between the outer eye corners, which fixes the scale of head space; MediaPipe's canonical face has it."""

_MESH_VERTICES = 468  # of MediaPipe's 478 points; the rest are the irises
# Of the 68 points jaw and lips move with the mouth, but they span the face: with weight 0 the pose of 31 real clips
# lies 1.2 degrees (median, a constant apart) from that of all 478 points, with these weights 0.64.
_JAW_WEIGHT, _LIP_WEIGHT = 0.5, 0.3


@dataclass(frozen=True, slots=True, eq=False)
class LandmarkSet:
    """The points of one landmark backend.

    Attributes:
        points: name -> index of single landmarks. contours: name -> indices in order around a closed contour.
        mirror: index of each landmark's mirrored landmark across the symmetry plane.
        triangles: the surface of the face, over the vertices that `surface` gives.
        neutral: a symmetric neutral shape in head space, cm, which fixes origin and axes of head space.
        alignment_weights: 1 for landmarks that a rigid alignment may use, less or 0 for those that move by themselves.
        ibug_68: the landmarks that lie where the 68 iBUG points do, in their order.
        vertex_weights: how each vertex of the surface follows the landmarks; None where the landmarks are the vertices.
        irises: name of an eye's contour -> the iris's middle and the ring around it, where the set has irises.
    """

    name: str
    points: dict[str, int]
    contours: dict[str, tuple[int, ...]]
    mirror: Int64[np.ndarray, " num_landmarks"]
    triangles: Int64[np.ndarray, "num_triangles 3"]
    neutral: Float64[np.ndarray, "num_landmarks 3"]
    alignment_weights: Float64[np.ndarray, " num_landmarks"]
    ibug_68: Int64[np.ndarray, " 68"]
    vertex_weights: Float64[np.ndarray, "num_vertices num_landmarks"] | None = None
    irises: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def eye_corners(self) -> tuple[int, int]:
        """The outer corners of the right and the left eye."""
        return self.points["right_eye_outer"], self.points["left_eye_outer"]

    @property
    def eyes_and_mouth(self) -> tuple[tuple[int, ...], ...]:
        """The contours of both eyes and of the lips."""
        return tuple(self.contours[name] for name in ("right_eye", "left_eye", "lips_outer"))

    def surface(self, landmarks: Float[np.ndarray, "num_landmarks dim"]) -> Float[np.ndarray, "num_vertices dim"]:
        """Return the vertices that `triangles` connects, in the space of `landmarks`: head, camera or image.

        The vertices follow every affine map of the landmarks exactly, so one rule serves all three spaces.
        """
        return landmarks if self.vertex_weights is None else np.asarray(self.vertex_weights @ landmarks)


@cache
def mediapipe_478() -> LandmarkSet:
    """Return the 478 points of MediaPipe's FaceLandmarker: its 468-vertex face mesh and two iris rings."""
    content = _load("mediapipe_478.json")
    weights = np.ones(len(content["neutral"]))
    weights[_MESH_VERTICES:] = 0.0  # the irises turn with the gaze
    return LandmarkSet(
        name=content["name"],
        points=content["points"],
        contours={name: tuple(indices) for name, indices in content["contours"].items()},
        mirror=np.array(content["mirror"]),
        triangles=np.array(content["triangles"]),
        neutral=np.array(content["neutral"]),
        alignment_weights=weights,
        ibug_68=np.array(_load("ibug_68.json")["mediapipe_478"]),
        irises={"right_eye": tuple(range(468, 473)), "left_eye": tuple(range(473, 478))},
    )


@cache
def ibug_68() -> LandmarkSet:
    """Return the 68 points of the iBUG 300-W annotation, as `face_alignment` gives them in three dimensions.

    The neutral shape is MediaPipe's canonical face at the same points, so both sets use one head space. Its surface
    is that face's mesh: 68 points alone would span cheeks and nose with flat triangles and leave out the forehead.
    """
    content = _load("ibug_68.json")
    dense = mediapipe_478()
    neutral = dense.neutral[dense.ibug_68]
    neutral = 0.5 * (neutral + neutral[content["mirror"]] * (-1.0, 1.0, 1.0))
    weights = np.ones(len(neutral))
    weights[:17] = _JAW_WEIGHT
    weights[48:] = _LIP_WEIGHT
    return LandmarkSet(
        name=content["name"],
        points=content["points"],
        contours={name: tuple(indices) for name, indices in content["contours"].items()},
        mirror=np.array(content["mirror"]),
        triangles=dense.triangles,
        neutral=neutral,
        alignment_weights=weights,
        ibug_68=np.arange(len(neutral)),
        vertex_weights=_interpolation(neutral, dense.neutral[:_MESH_VERTICES]),
    )


def _interpolation(
    points: Float64[np.ndarray, "num_landmarks 3"], vertices: Float64[np.ndarray, "num_vertices 3"]
) -> Float64[np.ndarray, "num_vertices num_landmarks"]:
    """Return weights that interpolate values at `points` to `vertices`: exact at the points and for affine maps.

    The kernel is the distance itself (the biharmonic spline of three dimensions). On 1,526 frames of 91 tracked clips
    it gave MediaPipe's mesh from the 68 points to 1.4 mm in the mean, 4.1 mm at the 95th percentile
    (`benchmarks/landmark_sets.py`); a thin-plate kernel was 40 % worse.
    """
    spline = RBFInterpolator(points, np.eye(len(points)), kernel="linear", degree=1)
    return np.asarray(spline(vertices), np.float64)


def _load(file_name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path(__file__).with_name(file_name).read_text("utf-8"))
    return content


_SETS = {"mediapipe_478": mediapipe_478, "ibug_68": ibug_68}


def landmark_set(name: str) -> LandmarkSet:
    """Return the landmark set called `name`, as tracks and shards record it.

    Raises:
        StageError: there is no such set; tracks and shards of another version may name one.
    """
    if name not in _SETS:
        raise StageError(f"landmark set {name!r}: expected {' or '.join(_SETS)}")
    return _SETS[name]()
