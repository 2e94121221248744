"""Deformation: points of head space and an expression delta -> displacement of every point."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from mggtalk.models.config import ModelConfig
from mggtalk.models.networks.layers import MLP, PositionalEncoding, ZeroInitLinear
from mggtalk.models.points.packed_to_padded import PackedToPadded
from mggtalk.models.points.surface_binding import FaceSurface, SurfaceBinding

_EMBEDDING_SIZE = 32
"""Channels of the embedding that is learned for each landmark."""
_RIDGE = 0.01
"""In squared pixels of the source: of the square of 2 x 2 children, which is 1, it leaves 99 %."""


@dataclass(frozen=True, slots=True, eq=False)
class BoundPoints:
    """Holds the points of a batch of heads and their children, bound to their faces before any expression is known.

    Attributes:
        batch_index: row of the batch that a point belongs to. parents, children: bindings to the faces.
        expression_basis: displacement that the MLP gives each point for one unit of each coefficient, cm.
        spread: maps the children's displacements to the gradient of the displacement, 1 / cm.
    """

    batch_index: Int64[Tensor, " num_points"]
    parents: SurfaceBinding
    children: SurfaceBinding
    expression_basis: Float[Tensor, "num_points 3 num_coefficients"]
    spread: Float[Tensor, "num_points num_children 3"]


@dataclass(frozen=True, slots=True, eq=False)
class Displacement:
    """Displacement of the points of a batch of heads.

    Attributes:
        parents: in cm. children: relative to their parent's, cm.
        gradient: of the displacement around each point, with respect to position.
    """

    parents: Float[Tensor, "num_points 3"]
    children: Float[Tensor, "num_points num_children 3"]
    gradient: Float[Tensor, "num_points 3 3"]

    def split(self, *counts: int) -> list["Displacement"]:
        """Split into consecutive runs of `counts` points."""
        parts = (part.split(counts) for part in (self.parents, self.children, self.gradient))
        return [Displacement(*part) for part in zip(*parts, strict=True)]


class DeformationField(nn.Module):
    """Displaces every point of head space along its own expression basis, one vector for each coefficient.

    A vector is the displacement of the nearest point of the face's surface, which blendshapes of the landmarks move,
    plus a correction by an MLP. The blendshapes are fitted to the tracks first (see `training.init_blendshapes`):
    without that the MLP left lids and irises far behind, because they are few of many points (docs/experiments.md).

    The displacement is linear in the expression delta, as with blendshapes: a head driven by itself stays exactly as it
    is, and coefficients that never changed in the training data move nothing. Before points were described by
    landmarks, the error was 0.083 cm, against 0.101 cm of an MLP on position and both expressions, which needs two
    passes (docs/experiments.md). Before `init_blendshapes` nothing moves at all.

    Deviates from the paper: a point is described by the landmarks around it, not by its position alone. The mouths of
    two people lie up to a centimetre apart in head space, so a position does not tell upper lip from lower.
    Children follow the surface where they are, so closing lids and stretching cheeks deform more finely than the
    spacing of the parents.
    """

    def __init__(self, settings: ModelConfig) -> None:
        super().__init__()
        self.max_displacement = settings.max_displacement_cm
        self.encoding = PositionalEncoding(octaves=6)
        self.surface = FaceSurface(settings.landmark_set)
        count = self.surface.num_landmarks
        self.landmark_embeddings = nn.Parameter(torch.randn(count, _EMBEDDING_SIZE))
        self.blendshapes = nn.Parameter(torch.zeros(count, 3, settings.expression_size))
        hidden = settings.hidden_channels
        self.body = nn.Sequential(
            MLP(self.encoding.channels + _EMBEDDING_SIZE + 3, hidden, layers=2),
            ZeroInitLinear(hidden, 3 * settings.expression_size),
        )

    @torch.no_grad()
    def init_blendshapes(self, blendshapes: Float[Tensor, "num_landmarks 3 num_coefficients"]) -> None:
        """Set the displacement of each landmark for one unit of each coefficient, cm.

        Raises:
            ValueError: the number of landmarks or coefficients differs.
        """
        if blendshapes.shape != self.blendshapes.shape:
            raise ValueError(f"blendshapes: expected {tuple(self.blendshapes.shape)}, got {tuple(blendshapes.shape)}")
        self.blendshapes.copy_(blendshapes)

    def bind(
        self,
        positions: Float[Tensor, "num_points 3"],
        child_offsets: Float[Tensor, "num_points num_children 3"],
        pixel_footprint: Float[Tensor, " num_points"],
        packing: PackedToPadded,
        landmarks: Float[Tensor, "batch num_landmarks 3"],
    ) -> BoundPoints:
        """Bind points to their faces, and compute everything that does not depend on the driving expression.

        The binding is a constant: gradients do not reach the choice of the triangle or the barycentric weights.

        Args:
            positions, landmarks: of the same frame of a head, in head space, cm.
            child_offsets: from a point to its children, cm. pixel_footprint: about the distance of these, cm.
            packing: of the points.
        """
        children = positions.unsqueeze(1) + child_offsets
        bindings = self.surface.bind_families(
            packing.pad(positions.detach()), packing.pad(children.detach()), landmarks
        )
        parents, of_children = (binding.each(packing.unpad) for binding in bindings)
        return BoundPoints(
            batch_index=packing.batch_index,
            parents=parents,
            children=of_children,
            expression_basis=self.expression_basis(positions, parents, landmarks),
            spread=_spread(child_offsets.detach(), pixel_footprint),
        )

    def expression_basis(
        self,
        points: Float[Tensor, "*points 3"],
        binding: SurfaceBinding,
        landmarks: Float[Tensor, "batch num_landmarks 3"],
    ) -> Float[Tensor, "*points 3 num_coefficients"]:
        """Return the displacement that the MLP gives each point for one unit of each coefficient, cm."""
        known = torch.cat((landmarks, self.landmark_embeddings.expand(len(landmarks), -1, -1)), dim=-1)
        nearest, embedding = binding.on_surface(self.surface.control_points(known)).tensor_split((3,), dim=-1)
        flat: Tensor = self.body(torch.cat((self.encoding(points), points - nearest, embedding), dim=-1))
        basis: Tensor = flat.unflatten(-1, (3, -1))
        return basis

    def displace(self, points: BoundPoints, expression_delta: Float[Tensor, "batch num_coefficients"]) -> Displacement:
        """Return the displacement of points under the expression delta of their heads."""
        control_points = self._displaced_control_points(expression_delta)
        parents = points.parents.interpolate(control_points)
        # Detached: children follow the surface within a cell of source pixels, but nothing is learned from that.
        children = points.children.interpolate(control_points.detach()) - parents.detach().unsqueeze(1)
        return Displacement(
            parents=self._limited(parents, points.expression_basis, expression_delta[points.batch_index]),
            children=children,
            gradient=children.mT @ points.spread,
        )

    def forward(
        self,
        points: Float[Tensor, "batch num_points 3"],
        landmarks: Float[Tensor, "batch num_landmarks 3"],
        expression_delta: Float[Tensor, "batch num_coefficients"],
    ) -> Float[Tensor, "batch num_points 3"]:
        """Return the displacements of points under the expression delta of their heads, cm.

        Args:
            points, landmarks: of the same frame of a head, in head space, cm.
        """
        binding = self.surface.bind(points, landmarks)
        interpolated = binding.interpolate(self._displaced_control_points(expression_delta))
        basis = self.expression_basis(points, binding, landmarks)
        return self._limited(interpolated, basis, expression_delta.unsqueeze(1))

    @torch.no_grad()
    def displaced_landmarks(
        self,
        landmarks: Float[Tensor, "batch num_landmarks 3"],
        expression_delta: Float[Tensor, "batch num_coefficients"],
    ) -> Float[Tensor, "batch num_landmarks 3"]:
        """Return landmarks displaced by the blendshapes under an expression delta; without a gradient."""
        return landmarks + self._landmark_displacements(expression_delta)

    def _landmark_displacements(
        self, expression_delta: Float[Tensor, "batch num_coefficients"]
    ) -> Float[Tensor, "batch num_landmarks 3"]:
        return torch.einsum("lxc,bc->blx", self.blendshapes, expression_delta)

    def _displaced_control_points(
        self, expression_delta: Float[Tensor, "batch num_coefficients"]
    ) -> Float[Tensor, "num_control_points 3"]:
        return self.surface.control_points(self._landmark_displacements(expression_delta))

    def _limited(
        self,
        interpolated: Float[Tensor, "*points 3"],
        expression_basis: Float[Tensor, "*points 3 num_coefficients"],
        expression_delta: Float[Tensor, "*points num_coefficients"],
    ) -> Float[Tensor, "*points 3"]:
        """Return displacements in cm, none of them larger than `max_displacement_cm` along any axis."""
        offset = interpolated + (expression_basis * expression_delta.unsqueeze(-2)).sum(dim=-1)
        # tanh is the identity except near the limit, which no face reaches.
        limited: Tensor = torch.tanh(offset / self.max_displacement) * self.max_displacement
        return limited


def _spread(
    child_offsets: Float[Tensor, "num_points num_children 3"], pixel_footprint: Float[Tensor, " num_points"]
) -> Float[Tensor, "num_points num_children 3"]:
    """Return O (O^T O + e I)^-1 of the offsets O: least squares for the linear map that moves children as they do.

    The ridge e keeps the map at zero across the children's plane, and everywhere for a single child.
    """
    # In double precision: where depth jumps by dozens of pixels the cofactors are differences of far larger numbers.
    offsets = (child_offsets / pixel_footprint[:, None, None]).double()
    squares = offsets.mT @ offsets
    squares.diagonal(dim1=1, dim2=2).add_(_RIDGE)
    x, y, z = squares.unbind(dim=1)
    # The inverse of a 3x3 matrix has the cross products of its rows as columns.
    columns = torch.stack((torch.linalg.cross(y, z), torch.linalg.cross(z, x), torch.linalg.cross(x, y)), dim=2)
    inverse = columns / (x * columns[..., 0]).sum(dim=-1)[:, None, None]
    return (offsets @ inverse).float() / pixel_footprint[:, None, None]
