"""Deformation: points of head space and a change of expression -> displacement of every point."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from mggtalk.models.config import ModelConfig
from mggtalk.models.layers import PositionalEncoding, zero_initialized


class DeformationField(nn.Module):
    """MLP on the position of a point and the expressions of source and target; starts as no displacement at all."""

    def __init__(self, settings: ModelConfig) -> None:
        super().__init__()
        hidden = settings.hidden_channels
        self.max_displacement = settings.max_displacement_cm
        self.encoding = PositionalEncoding(octaves=5)
        self.from_position = nn.Linear(self.encoding.channels, hidden)
        self.from_expression = nn.Linear(2 * settings.expression_size, hidden, bias=False)
        self.first = nn.Linear(hidden, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.out = zero_initialized(nn.Linear(hidden, 3))

    def forward(
        self,
        positions: Float[Tensor, "num_points 3"],
        head: Int64[Tensor, " num_points"],
        source_expression: Float[Tensor, "batch num_coefficients"],
        target_expression: Float[Tensor, "batch num_coefficients"],
    ) -> Float[Tensor, "num_points 3"]:
        """Return displacements in cm; none where the expression does not change.

        The network is asked twice, for the target's expression and for the source's own, and answers with the
        difference: a head driven by itself stays as it is, exactly.
        """
        place = self.from_position(self.encoding(positions))
        moved = self._offset(place, head, source_expression, target_expression)
        still = self._offset(place, head, source_expression, source_expression)
        return (moved - still) * self.max_displacement

    def _offset(
        self, place: Tensor, head: Tensor, source_expression: Tensor, target_expression: Tensor
    ) -> Float[Tensor, "num_points 3"]:
        change = torch.cat((target_expression - source_expression, target_expression), dim=-1)
        hidden = functional.silu(place + self.from_expression(change)[head])
        hidden = hidden + functional.silu(self.first(hidden))
        hidden = hidden + functional.silu(self.second(hidden))
        offset: Tensor = self.out(hidden)
        return offset
