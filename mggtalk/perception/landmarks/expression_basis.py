"""Expression from landmarks: a fixed linear basis of how 68 points of a face move, for backends without coefficients.

The basis is shipped (`ibug_68_expression.npz`, made by `scripts/make_expression_basis.py`) and not fitted to the data
at hand, so that coefficients compare across clips, data sets and landmark sets: any set is read at its 68 iBUG points.
A coefficient of 0.5 is the clip's neutral face; a mirrored face has the same coefficients in the symmetric components,
and in the others those on the other side of 0.5.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64

from mggtalk.geometry.head.landmark_sets import landmark_set

BASIS_FILE = "ibug_68_expression.npz"
NUM_COEFFICIENTS = 20
# The jaw line near the ears does not move with the face: what seems to is the outline that slides with the pose.
_STILL_JAW = (*range(4), *range(13, 17))
_DEPTH_WEIGHT = 0.5  # landmarkers see depth worst
_LARGE = 99.0  # the percentile of a component's size that becomes 1 (or 0); what is larger is cut off


@dataclass(frozen=True, slots=True, eq=False)
class ExpressionBasis:
    """Directions that displacements of the 68 points are projected on.

    Attributes:
        directions: coefficient in cm for each cm of movement. scales: the size in cm that becomes 1, or -1 becomes 0.
        symmetric: whether a component moves both sides of the face alike.
    """

    directions: Float64[np.ndarray, "num_coefficients 68 3"]
    scales: Float64[np.ndarray, " num_coefficients"]
    symmetric: Bool[np.ndarray, " num_coefficients"]

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each coefficient, in the order of how much it tells."""
        return tuple(f"pca_{number:02d}" for number in range(len(self.scales)))

    def coefficients(
        self, displacements: Float[np.ndarray, "num_frames 68 3"]
    ) -> Float32[np.ndarray, "num_frames num_coefficients"]:
        """Return coefficients in [0, 1], 0.5 where nothing moves, of displacements from neutral in head space, cm."""
        sizes = np.einsum("tni,kni->tk", displacements, self.directions)
        return np.asarray(np.clip(0.5 + 0.5 * sizes / self.scales, 0.0, 1.0), np.float32)


@cache
def expression_basis() -> ExpressionBasis:
    """Return the basis that is shipped."""
    with np.load(Path(__file__).with_name(BASIS_FILE)) as content:
        return ExpressionBasis(**{name: content[name] for name in ("directions", "scales", "symmetric")})


def pca_names(landmark_set_name: str) -> tuple[str, ...]:
    """Return the names of the coefficients that `pca_expression` gives for a landmark set.

    Raises:
        StageError: no such set.
    """
    landmark_set(landmark_set_name)
    return expression_basis().names


def pca_expression(
    landmarks: Float[np.ndarray, "num_frames num_landmarks 3"],
    neutral: Float[np.ndarray, "num_landmarks 3"],
    landmark_set_name: str,
) -> Float32[np.ndarray, "num_frames num_coefficients"]:
    """Return the expression of every frame of a clip, in [0, 1]; 0.5 is the clip's neutral face.

    Args:
        landmarks: of each frame in head space, cm. neutral: the clip's symmetric shape.

    Raises:
        StageError: no such set.
    """
    chosen = landmark_set(landmark_set_name).ibug_68
    return expression_basis().coefficients((landmarks - neutral)[:, chosen])


def point_weights() -> Float64[np.ndarray, "68 3"]:
    """Return how much the movement of each point along each axis counts, before it is squared."""
    weights = np.ones((68, 3)) * (1.0, 1.0, _DEPTH_WEIGHT)
    weights[list(_STILL_JAW)] = 0.0
    return weights


def fit_expression_basis(
    clips: Sequence[Float[np.ndarray, "num_frames 68 3"]],
    mirror: Int64[np.ndarray, " 68"],
    num_coefficients: int = NUM_COEFFICIENTS,
) -> tuple[ExpressionBasis, float]:
    """Return the basis that explains most of the clips' movement, and the share of the variance that it explains.

    The principal components of the displacements and of their mirror images, each about its clip's mean, so that the
    shape of a face is no expression. Symmetric and antisymmetric components are found apart, which makes them exact.

    Args:
        clips: displacements from the clip's neutral shape in head space, cm.
        mirror: index of each point's twin.
    """
    weights = point_weights()
    moved = np.concatenate([clip - clip.mean(axis=0) for clip in clips]) * weights
    reflected = moved[:, mirror] * (-1.0, 1.0, 1.0)
    halves = [(moved + reflected) / 2, (moved - reflected) / 2]
    solved = [np.linalg.svd(half.reshape(len(half), -1), full_matrices=False)[1:] for half in halves]
    strengths = np.concatenate([strength for strength, _ in solved])
    components = np.concatenate([component for _, component in solved]).reshape(-1, *weights.shape)
    symmetric = np.repeat([True, False], [len(strength) for strength, _ in solved])
    best = np.argsort(-strengths, kind="stable")[:num_coefficients]
    largest = np.abs(components[best]).reshape(len(best), -1).argmax(axis=1)
    signs = np.sign(components[best].reshape(len(best), -1)[np.arange(len(best)), largest])
    directions = components[best] * signs[:, None, None] * weights
    sizes = np.abs(np.einsum("tni,kni->tk", np.concatenate(list(clips)), directions))
    basis = ExpressionBasis(directions, np.percentile(sizes, _LARGE, axis=0), symmetric[best])
    return basis, float((strengths[best] ** 2).sum() / (strengths**2).sum())
