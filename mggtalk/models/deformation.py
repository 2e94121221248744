"""Deformation: points of head space and a change of expression -> displacement of every point."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mggtalk.models.config import ModelConfig
from mggtalk.models.layers import Perceptron, PositionalEncoding, ZeroLinear

_REACH_CM = 0.25
"""Within which a landmark speaks for the points around it: neighbours on lips and eyelids are 0.3 to 0.6 cm apart, and
twice as far lids held each other back (docs/results.md)."""
_EMBEDDING = 32
"""Numbers learned for each landmark."""


class DeformationField(nn.Module):
    """Gives every point of head space its own direction for each expression coefficient.

    A direction is that of the landmarks around the point, which blendshapes fitted to the tracks start (see
    `training.blendshapes`), and what an MLP adds to it. Without that start the MLP left lids and irises far behind:
    they are few of many points (docs/results.md).

    The displacement is linear in the change of expression, as blendshapes are: a head driven by itself stays as it is,
    exactly, and coefficients that the training data never moved move nothing. Before landmarks told it where a point
    lies, it left 0.083 cm where an MLP on position and both expressions left 0.101, in one pass instead of two
    (docs/results.md).
    Before `start` nothing moves at all.

    Ours, not the paper's: a point is described not by its position alone but by the landmarks of its face around it.
    Mouths of two people lie up to a centimetre apart in head space, so a position does not tell upper lip from lower.
    """

    def __init__(self, settings: ModelConfig) -> None:
        super().__init__()
        self.max_displacement = settings.max_displacement_cm
        self.encoding = PositionalEncoding(octaves=6)
        self.landmarks = nn.Parameter(torch.randn(settings.num_landmarks, _EMBEDDING))
        self.blendshapes = nn.Parameter(torch.zeros(settings.num_landmarks, 3, settings.expression_size))
        hidden = settings.hidden_channels
        self.body = nn.Sequential(
            Perceptron(self.encoding.channels + _EMBEDDING + 3, hidden, layers=2),
            ZeroLinear(hidden, 3 * settings.expression_size),
        )

    @torch.no_grad()
    def start(self, blendshapes: Float[Tensor, "num_landmarks 3 num_coefficients"]) -> None:
        """Take up where a unit of each coefficient takes each landmark, cm.

        Raises:
            ValueError: of other numbers of landmarks or coefficients.
        """
        if blendshapes.shape != self.blendshapes.shape:
            raise ValueError(f"blendshapes: expected {tuple(self.blendshapes.shape)}, got {tuple(blendshapes.shape)}")
        self.blendshapes.copy_(blendshapes)

    def directions(
        self, points: Float[Tensor, "batch num_points 3"], landmarks: Float[Tensor, "batch num_landmarks 3"]
    ) -> Float[Tensor, "batch num_points 3 num_coefficients"]:
        """Return where each point of a head goes for one unit of each coefficient, cm.

        Args:
            points, landmarks: of the same frame of a head, in head space, cm.
        """
        # Squared distances but for the point's own square, which softmax does not see. torch.cdist took two thirds of a
        # training step's GPU time (docs/results.md).
        products = points.detach() @ landmarks.mT
        nearness = (products - 0.5 * landmarks.square().sum(dim=-1).unsqueeze(1)) / _REACH_CM**2
        share = torch.softmax(nearness, dim=-1)
        learned = torch.cat((self.landmarks, self.blendshapes.flatten(1)), dim=-1)
        known = torch.cat((landmarks, learned.expand(len(landmarks), -1, -1)), dim=-1)
        place, embedding, around = (share @ known).tensor_split((3, 3 + _EMBEDDING), dim=-1)
        described = torch.cat((self.encoding(points), points - place, embedding), dim=-1)
        directions: Tensor = (around + self.body(described)).unflatten(-1, (3, -1))
        return directions

    def displacement(
        self, directions: Float[Tensor, "*points 3 num_coefficients"], change: Float[Tensor, "*points num_coefficients"]
    ) -> Float[Tensor, "*points 3"]:
        """Return displacements in cm, none of them longer than `max_displacement_cm` along any axis."""
        offset: Tensor = (directions * change.unsqueeze(-2)).sum(dim=-1)
        # tanh is the identity but for displacements near the limit, which no face reaches.
        limited: Tensor = torch.tanh(offset / self.max_displacement) * self.max_displacement
        return limited

    def forward(
        self,
        points: Float[Tensor, "batch num_points 3"],
        landmarks: Float[Tensor, "batch num_landmarks 3"],
        change: Float[Tensor, "batch num_coefficients"],
    ) -> Float[Tensor, "batch num_points 3"]:
        """Return the displacements of points under the change of their head's expression, cm."""
        return self.displacement(self.directions(points, landmarks), change.unsqueeze(1))
