"""Deformation: points of head space and a change of expression -> displacement of every point."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from mggtalk.models.config import ModelConfig
from mggtalk.models.networks.layers import MLP, PositionalEncoding, ZeroInitLinear
from mggtalk.models.points.packed_to_padded import PackedToPadded
from mggtalk.models.points.surface_binding import FaceSurface, SurfaceBinding

_EMBEDDING = 32
"""Numbers learned for each landmark."""
_RIDGE = 0.01
"""In squared pixels of the source: of the square of 2 x 2 children, which is 1, it leaves 99 %."""


@dataclass(frozen=True, slots=True, eq=False)
class BoundPoints:
    """What the deformation knows of the points of a batch of heads, and of their children.

    Attributes:
        batch_index: row of the batch that a point belongs to. parents, children: where they hang on their faces.
        directions: where the MLP takes each point for one unit of each coefficient, cm.
        spread: what takes the children's displacements to the gradient of the displacement, 1 / cm.
    """

    batch_index: Int64[Tensor, " num_points"]
    parents: SurfaceBinding
    children: SurfaceBinding
    directions: Float[Tensor, "num_points 3 num_coefficients"]
    spread: Float[Tensor, "num_points num_children 3"]


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """How the points of a batch of heads move.

    Attributes:
        displacement: cm. of_children: of children, beyond their parent's, cm.
        gradient: of the displacement around each point, with respect to its place.
    """

    displacement: Float[Tensor, "num_points 3"]
    of_children: Float[Tensor, "num_points num_children 3"]
    gradient: Float[Tensor, "num_points 3 3"]

    def split(self, *counts: int) -> list["Motion"]:
        """Return the motions of the first so many points, of the next ones, and so on."""
        parts = (part.split(counts) for part in (self.displacement, self.of_children, self.gradient))
        return [Motion(*part) for part in zip(*parts, strict=True)]


class DeformationField(nn.Module):
    """Gives every point of head space its own direction for each expression coefficient.

    A direction is that of the face's surface next to the point, which blendshapes of the landmarks move, and what an
    MLP adds to it. The blendshapes start fitted to the tracks (see `training.blendshapes`): without that start the MLP
    left lids and irises far behind, for they are few of many points (docs/results.md).

    The displacement is linear in the change of expression, as blendshapes are: a head driven by itself stays as it is,
    exactly, and coefficients that the training data never moved move nothing. Before landmarks told it where a point
    lies, it left 0.083 cm where an MLP on position and both expressions left 0.101, in one pass instead of two
    (docs/results.md).
    Before `start` nothing moves at all.

    Ours, not the paper's: a point is described not by its position alone but by the landmarks of its face around it.
    Mouths of two people lie up to a centimetre apart in head space, so a position does not tell upper lip from lower.
    Children follow the surface where they are, so lids that close and cheeks that stretch do so below the spacing of
    parents.
    """

    def __init__(self, settings: ModelConfig) -> None:
        super().__init__()
        self.max_displacement = settings.max_displacement_cm
        self.encoding = PositionalEncoding(octaves=6)
        self.surface = FaceSurface(settings.landmark_set)
        count = self.surface.num_landmarks
        self.landmarks = nn.Parameter(torch.randn(count, _EMBEDDING))
        self.blendshapes = nn.Parameter(torch.zeros(count, 3, settings.expression_size))
        hidden = settings.hidden_channels
        self.body = nn.Sequential(
            MLP(self.encoding.channels + _EMBEDDING + 3, hidden, layers=2),
            ZeroInitLinear(hidden, 3 * settings.expression_size),
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

    def bind(
        self,
        positions: Float[Tensor, "num_points 3"],
        child_offsets: Float[Tensor, "num_points num_children 3"],
        spacing: Float[Tensor, " num_points"],
        packing: PackedToPadded,
        landmarks: Float[Tensor, "batch num_landmarks 3"],
    ) -> BoundPoints:
        """Return what there is to know of points before the expression is.

        Which triangle a point hangs on, and where, is taken as given: no gradient says that it might hang elsewhere.

        Args:
            positions, landmarks: of the same frame of a head, in head space, cm.
            child_offsets: from a point to its children, cm. spacing: of these, about, cm.
            packing: says which point is whose.
        """
        children = positions.unsqueeze(1) + child_offsets
        attachments = self.surface.attach_families(
            packing.pad(positions.detach()), packing.pad(children.detach()), landmarks
        )
        parents, of_children = (attachment.each(packing.unpad) for attachment in attachments)
        return BoundPoints(
            batch_index=packing.batch_index,
            parents=parents,
            children=of_children,
            directions=self.directions(positions, parents, landmarks),
            spread=_spread(child_offsets.detach(), spacing),
        )

    def directions(
        self,
        points: Float[Tensor, "*points 3"],
        attachment: SurfaceBinding,
        landmarks: Float[Tensor, "batch num_landmarks 3"],
    ) -> Float[Tensor, "*points 3 num_coefficients"]:
        """Return where the MLP takes each point for one unit of each coefficient, cm."""
        known = torch.cat((landmarks, self.landmarks.expand(len(landmarks), -1, -1)), dim=-1)
        place, embedding = attachment.on_surface(self.surface.knots(known)).tensor_split((3,), dim=-1)
        flat: Tensor = self.body(torch.cat((self.encoding(points), points - place, embedding), dim=-1))
        directions: Tensor = flat.unflatten(-1, (3, -1))
        return directions

    def motion(self, points: BoundPoints, change: Float[Tensor, "batch num_coefficients"]) -> Motion:
        """Return how points move under the change of their head's expression."""
        knots = self._moved_knots(change)
        parents = points.parents.carried(knots)
        # What lies within a cell of the source's pixels is followed, not learned from.
        of_children = points.children.carried(knots.detach()) - parents.detach().unsqueeze(1)
        return Motion(
            displacement=self._limited(parents, points.directions, change[points.batch_index]),
            of_children=of_children,
            gradient=of_children.mT @ points.spread,
        )

    def forward(
        self,
        points: Float[Tensor, "batch num_points 3"],
        landmarks: Float[Tensor, "batch num_landmarks 3"],
        change: Float[Tensor, "batch num_coefficients"],
    ) -> Float[Tensor, "batch num_points 3"]:
        """Return the displacements of points under the change of their head's expression, cm.

        Args:
            points, landmarks: of the same frame of a head, in head space, cm.
        """
        attachment = self.surface.attach(points, landmarks)
        directions = self.directions(points, attachment, landmarks)
        return self._limited(attachment.carried(self._moved_knots(change)), directions, change.unsqueeze(1))

    @torch.no_grad()
    def moved_landmarks(
        self, landmarks: Float[Tensor, "batch num_landmarks 3"], change: Float[Tensor, "batch num_coefficients"]
    ) -> Float[Tensor, "batch num_landmarks 3"]:
        """Return where the blendshapes take landmarks under a change of expression; without a gradient."""
        return landmarks + self._moved(change)

    def _moved(self, change: Float[Tensor, "batch num_coefficients"]) -> Float[Tensor, "batch num_landmarks 3"]:
        return torch.einsum("lxc,bc->blx", self.blendshapes, change)

    def _moved_knots(self, change: Float[Tensor, "batch num_coefficients"]) -> Float[Tensor, "num_knots 3"]:
        return self.surface.knots(self._moved(change))

    def _limited(
        self,
        carried: Float[Tensor, "*points 3"],
        directions: Float[Tensor, "*points 3 num_coefficients"],
        change: Float[Tensor, "*points num_coefficients"],
    ) -> Float[Tensor, "*points 3"]:
        """Return displacements in cm, none of them longer than `max_displacement_cm` along any axis."""
        offset = carried + (directions * change.unsqueeze(-2)).sum(dim=-1)
        # tanh is the identity but for displacements near the limit, which no face reaches.
        limited: Tensor = torch.tanh(offset / self.max_displacement) * self.max_displacement
        return limited


def _spread(
    child_offsets: Float[Tensor, "num_points num_children 3"], spacing: Float[Tensor, " num_points"]
) -> Float[Tensor, "num_points num_children 3"]:
    """Return O (O^T O + e I)^-1 of the offsets O: least squares for the linear map that moves children as they do.

    The ridge e keeps the map at zero across the children's plane, and everywhere for a single child.
    """
    # In double precision: where depth jumps by dozens of pixels the cofactors are differences of far larger numbers.
    offsets = (child_offsets / spacing[:, None, None]).double()
    squares = offsets.mT @ offsets
    squares.diagonal(dim1=1, dim2=2).add_(_RIDGE)
    x, y, z = squares.unbind(dim=1)
    # The inverse of a 3x3 matrix has the cross products of its rows as columns.
    columns = torch.stack((torch.linalg.cross(y, z), torch.linalg.cross(z, x), torch.linalg.cross(x, y)), dim=2)
    inverse = columns / (x * columns[..., 0]).sum(dim=-1)[:, None, None]
    return (offsets @ inverse).float() / spacing[:, None, None]
