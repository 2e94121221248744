"""Expression from landmarks by a fixed linear basis of the movements of 68 points, for backends without coefficients.

The basis is shipped (`ibug_68_expression.npz`, made by `scripts/make_expression_basis.py`), not fitted to the data at
hand, so that coefficients compare across clips, data sets and landmark sets: of any set, the 68 iBUG points are used. A
coefficient of 0.5 is the clip's neutral face. A mirrored face has the same coefficients c in symmetric components, and
1 - c in the others.
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
# The jaw line near the ears does not move with the expression; its landmarks only slide along the outline as the head
# turns.
_STILL_JAW = (*range(4), *range(13, 17))
_DEPTH_WEIGHT = 0.5  # landmarkers are worst at depth
_LARGE = 99.0  # the percentile of a component's size that becomes 1 (or 0); larger values are clipped


@dataclass(frozen=True, slots=True, eq=False)
class ExpressionBasis:
    """Directions that displacements of the 68 points are projected on.

    Attributes:
        directions: size in cm per cm of movement.
        scales: size in cm that becomes the coefficient 1; its negative becomes 0.
        symmetric: whether a component moves both sides of the face alike.
    """

    directions: Float64[np.ndarray, "num_coefficients 68 3"]
    scales: Float64[np.ndarray, " num_coefficients"]
    symmetric: Bool[np.ndarray, " num_coefficients"]

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each coefficient, in order of falling variance."""
        return tuple(f"pca_{number:02d}" for number in range(len(self.scales)))

    def coefficients(
        self, displacements: Float[np.ndarray, "num_frames 68 3"]
    ) -> Float32[np.ndarray, "num_frames num_coefficients"]:
        """Return the coefficients, in [0, 1] and 0.5 at rest, of displacements from neutral in head space, cm."""
        sizes = np.einsum("tni,kni->tk", displacements, self.directions)
        return np.asarray(np.clip(0.5 + 0.5 * sizes / self.scales, 0.0, 1.0), np.float32)


@cache
def expression_basis() -> ExpressionBasis:
    """Return the shipped basis."""
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
    """Return the weight of each point's movement along each axis, before squaring."""
    weights = np.ones((68, 3)) * (1.0, 1.0, _DEPTH_WEIGHT)
    weights[list(_STILL_JAW)] = 0.0
    return weights


def fit_expression_basis(
    clips: Sequence[Float[np.ndarray, "num_frames 68 3"]],
    mirror: Int64[np.ndarray, " 68"],
    num_coefficients: int = NUM_COEFFICIENTS,
) -> tuple[ExpressionBasis, float]:
    """Return the basis that explains most of the clips' movement, and the fraction of the variance that it explains.

    The basis has the principal components of the displacements and their mirror images. The mean of each clip is
    subtracted, because the shape of a face is no expression. Symmetric and antisymmetric components are solved
    separately, so the symmetry is exact.

    Args:
        clips: displacements from the clip's neutral shape in head space, cm.
        mirror: index of each point's counterpart across the symmetry plane.
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
