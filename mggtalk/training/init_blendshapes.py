"""Fits linear blendshapes to tracked frame pairs: the displacement of each landmark per expression coefficient.

The deformation starts from them. The robust least squares fit takes seconds and explains 0.97 of the variance in the
lid opening of unseen people. The MLP alone explained 0.65 after 48,000 pairs, because lids and irises are few of many
points (docs/experiments.md).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from mggtalk.models.batches import TrackBatch

_RIDGE = 0.3
"""Coefficients whose squared changes over the pairs add up to less than this move landmarks little."""
_TOLERANCE_CM = 0.1
"""Residual, about the landmarker's noise, beyond which a landmark begins to lose weight."""
_ROUNDS = 6
_LANDMARKS_AT_ONCE = 64
"""Keeps the memory of a round below 0.2 GB for 4,096 pairs."""


def fit_blendshapes(*tracks: TrackBatch) -> Float[Tensor, "num_landmarks 3 num_coefficients"]:
    """Fit the displacement (cm) of each landmark for one unit of each coefficient.

    Source: ridge regression with Cauchy's weights, as iteratively reweighted least squares (Holland & Welsch, 1977).
    """
    change = torch.cat([part.target_expression - part.source_expression for part in tracks]).double()
    motion = torch.cat([part.target_landmarks - part.source_landmarks for part in tracks]).double().transpose(0, 1)
    parts = [_fit(change, part) for part in motion.split(_LANDMARKS_AT_ONCE)]
    return torch.cat(parts).mT.float()


def _fit(
    change: Float[Tensor, "num_pairs num_coefficients"], motion: Float[Tensor, "num_landmarks num_pairs 3"]
) -> Float[Tensor, "num_landmarks num_coefficients 3"]:
    ridge = _RIDGE * torch.eye(change.shape[1], dtype=change.dtype, device=change.device)
    weight = torch.ones_like(motion[..., 0])
    for _ in range(_ROUNDS):
        weighted = change.T * weight.unsqueeze(1)
        fitted: Tensor = torch.linalg.solve(weighted @ change + ridge, weighted @ motion)
        weight = 1 / (1 + (motion - change @ fitted).square().sum(dim=-1) / _TOLERANCE_CM**2)
    return fitted
