"""Pose and canonical shape of a head, solved over all frames of a clip at once (numpy, float64).

Per-frame pose estimates put the symmetry plane centimetres off at large yaw. Aligning every frame of the clip to one
symmetric shape (generalised Procrustes analysis, with the mirror permutation as a constraint) does not.

Source: Gower, Generalized Procrustes Analysis (1975); Umeyama, Least-squares estimation of transformation parameters
between two point patterns (1991), eqs. 40-42.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

_ITERATIONS = 4


@dataclass(frozen=True, slots=True)
class Similarity:
    """Transforms `scale * rotation @ x + translation`, one per frame."""

    scale: Float[np.ndarray, " num_frames"]
    rotation: Float[np.ndarray, "num_frames 3 3"]
    translation: Float[np.ndarray, "num_frames 3"]

    def inverse_apply(
        self, points: Float[np.ndarray, "num_frames num_points 3"]
    ) -> Float[np.ndarray, "num_frames num_points 3"]:
        """Return `points` taken back through the transform of their frame."""
        centered = points - self.translation[:, None]
        return np.asarray(centered @ self.rotation / self.scale[:, None, None])


def align(
    shape: Float[np.ndarray, "num_points 3"],
    points: Float[np.ndarray, "num_frames num_points 3"],
    weights: Float[np.ndarray, " num_points"],
    *,
    with_scale: bool = True,
) -> Similarity:
    """Return the transforms that bring `shape` onto the points of each frame, least squares under `weights`.

    Source: Umeyama 1991, eqs. 40-42, weighted.
    """
    fractions = weights / weights.sum()
    shape_mean = fractions @ shape
    points_mean = fractions @ points
    shape_centered = shape - shape_mean
    covariance = (points - points_mean[:, None]).transpose(0, 2, 1) @ (fractions[:, None] * shape_centered)
    left, singular, right = np.linalg.svd(covariance)
    sign = np.ones_like(singular)
    sign[:, 2] = np.sign(np.linalg.det(left) * np.linalg.det(right))
    rotation = np.einsum("tij,tj,tjk->tik", left, sign, right)
    variance = fractions @ (shape_centered**2).sum(axis=1)
    scale = (singular * sign).sum(axis=1) / variance if with_scale else np.ones(len(points))
    translation = points_mean - scale[:, None] * np.einsum("tij,j->ti", rotation, shape_mean)
    return Similarity(scale, rotation, translation)


def solve_symmetric_shape(
    points: Float[np.ndarray, "num_frames num_points 3"],
    template: Float[np.ndarray, "num_points 3"],
    mirror: Int64[np.ndarray, " num_points"],
    weights: Float[np.ndarray, " num_points"],
    eye_corners: tuple[int, int],
    eye_distance: float,
) -> tuple[Float[np.ndarray, "num_points 3"], Float[np.ndarray, " num_points"]]:
    """Return the clip's one symmetric shape in head space (cm) and the trust in each landmark.

    Landmarks that move against the rest (lips, jaw, lids) lose weight according to their residual variance.

    Args:
        points: the landmarks of each frame in any similarity frame with OpenCV camera axes.
        template: a symmetric shape in head space that fixes origin and axes.
        mirror: index of each landmark's mirrored landmark.
        weights: prior trust in each landmark; 0 leaves it out of the alignment.
        eye_corners, eye_distance: the two landmarks whose distance in cm fixes the scale.
    """
    shape = template.astype(np.float64)
    trust = weights.astype(np.float64)
    for _ in range(_ITERATIONS):
        aligned = align(shape, points, trust).inverse_apply(points)
        mean = np.median(aligned, axis=0)
        symmetric = 0.5 * (mean + mean[mirror] * (-1.0, 1.0, 1.0))
        symmetric *= eye_distance / np.linalg.norm(symmetric[eye_corners[0]] - symmetric[eye_corners[1]])
        to_template = align(symmetric, template[None].astype(np.float64), weights, with_scale=False)
        shape = symmetric @ to_template.rotation[0].T + to_template.translation[0]
        variance = ((aligned - mean) ** 2).sum(axis=2).mean(axis=0)
        variance = 0.5 * (variance + variance[mirror])
        trust = weights / (variance + np.median(variance[weights > 0]) + 1e-9)
    return shape, trust / trust.max()
