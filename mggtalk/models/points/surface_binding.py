"""Binds points of head space to the face's surface, the triangles between the landmarks."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from mggtalk.geometry.head.landmark_sets import LandmarkSet, landmark_set

_IRIS_REACH, _IRIS_RIM = 1.35, 0.15
"""Distance from an iris at which it no longer moves the eyeball, and softness of that edge, in radii of its ring."""
_EYEBALL_CM = 0.5
"""Points farther than this from the surface belong to no eyeball."""
_LID_EDGE_CM = 0.01
"""Distance within which a point belongs to the edge of a lid, not to the eyeball: its landmarks lie on both."""
_SLIVER = 1e-9
"""Squared length or area below which an edge or a triangle has none."""


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceBinding:
    """Binds points to the surfaces of a batch of heads.

    Attributes:
        control_points: indices into the list that `FaceSurface.control_points` makes of all heads: the corners of a
            triangle, an iris, and the corners of the triangle on which that iris lies.
        barycentric: weights of these control points. The first three sum to 1, the others to 0.
    """

    control_points: Int64[Tensor, "*points 7"]
    barycentric: Float[Tensor, "*points 7"]

    def each(self, select: Callable[[Tensor], Tensor]) -> "SurfaceBinding":
        """Return the binding of the points that `select` picks from each of the tensors."""
        return SurfaceBinding(select(self.control_points), select(self.barycentric))

    def on_surface(self, values: Float[Tensor, "num_control_points channels"]) -> Float[Tensor, "*points channels"]:
        """Interpolate values at the control points to the surface points nearest to the bound points."""
        return _weighted_sum(values, self.control_points[..., :3], self.barycentric[..., :3])

    def interpolate(self, values: Float[Tensor, "num_control_points channels"]) -> Float[Tensor, "*points channels"]:
        """Interpolate like `on_surface`; on an eyeball, add the weighted difference between iris and surface."""
        return _weighted_sum(values, self.control_points, self.barycentric)


@dataclass(frozen=True, slots=True, eq=False)
class _PosedSurface:
    """The surfaces of a batch of heads.

    Attributes:
        control_points: positions of vertices, then of irises.
        planes: `_planes` of the triangles of all heads. middles: of the triangles.
        first_control_point, first_triangle: index of each head's first one in the lists of all heads.
    """

    control_points: Float[Tensor, "batch num_control_points 3"]
    planes: Float[Tensor, "20 all_triangles"]
    middles: Float[Tensor, "batch triangles_of_one 3"]
    first_control_point: Int64[Tensor, "batch 1 1"]
    first_triangle: Int64[Tensor, "batch 1 1"]


class FaceSurface(nn.Module):
    """Binds points to the triangles between the landmarks of one set.

    A point moves with the nearest triangle, as a weighted mean of its corners, so upper and lower lid move separately;
    a mean of the landmarks around held each lid back by the other (docs/experiments.md). Irises are not part of the
    surface: they slide under the lids, and move the points around them that lie between the lids.
    """

    def __init__(self, name: str) -> None:
        """Take the surface of the landmark set called `name`.

        Raises:
            StageError: there is no such set.
        """
        super().__init__()
        landmarks = landmark_set(name)
        self.num_landmarks = len(landmarks.neutral)
        self.triangles: Tensor  # buffers, because they move with the points; not stored, because the set has them
        self.control_point_weights: Tensor
        self.irises: Tensor
        self.is_between_lids: Tensor
        self.handicap: Tensor
        self.around_middle: Tensor
        self.around_triangle: Tensor
        self.register_buffer("triangles", torch.from_numpy(landmarks.triangles), persistent=False)
        # The nearest triangle shares a corner with the triangle of the nearest middle: true of all but 1 in 9,000
        # points within 3 mm of eight real faces.
        self.register_buffer("around_middle", _neighbours(self.triangles, 1), persistent=False)
        self.register_buffer("around_triangle", _neighbours(self.triangles, 2), persistent=False)
        self.register_buffer("control_point_weights", _control_point_weights(landmarks), persistent=False)
        self.register_buffer("irises", torch.tensor([*landmarks.irises.values()], dtype=torch.long), persistent=False)
        self.register_buffer("is_between_lids", _between_lids(landmarks), persistent=False)
        self.register_buffer("handicap", self.is_between_lids.any(dim=1) * _LID_EDGE_CM**2, persistent=False)

    def control_points(
        self, values: Float[Tensor, "batch num_landmarks channels"]
    ) -> Float[Tensor, "num_control_points channels"]:
        """Interpolate values at the landmarks to the vertices and then the irises, one head after the other."""
        interpolated: Tensor = self.control_point_weights @ values
        return interpolated.flatten(0, 1)

    @torch.no_grad()
    def bind(
        self, points: Float[Tensor, "batch num_points 3"], landmarks: Float[Tensor, "batch num_landmarks 3"]
    ) -> SurfaceBinding:
        """Bind points to the surface; points and landmarks of the same frame of a head, in head space, cm."""
        return self._bind(self._pose(landmarks), points, landmarks)[0]

    @torch.no_grad()
    def bind_families(
        self,
        points: Float[Tensor, "batch num_points 3"],
        children: Float[Tensor, "batch num_points num_children 3"],
        landmarks: Float[Tensor, "batch num_landmarks 3"],
    ) -> tuple[SurfaceBinding, SurfaceBinding]:
        """Bind points and the children close to each of them.

        A child is bound to the triangle of its parent or to an adjacent one, and to the same iris.
        """
        surfaces = self._pose(landmarks)
        parents, triangle = self._bind(surfaces, points, landmarks)
        num_children = children.shape[2]
        near = self.around_triangle[triangle].repeat_interleave(num_children, dim=1)
        own, barycentric, _ = _nearest(children.flatten(1, 2), surfaces.planes, near + surfaces.first_triangle)
        families = children.shape[:3]
        corners = (self.triangles[own % len(self.triangles)] + surfaces.first_control_point).unflatten(1, families[1:])
        iris_points, of_iris = (
            part[..., 3:].unsqueeze(2).expand(*families, -1) for part in (parents.control_points, parents.barycentric)
        )
        barycentric = torch.cat((barycentric.unflatten(1, families[1:]), of_iris), dim=-1)
        return parents, SurfaceBinding(torch.cat((corners, iris_points), dim=-1), barycentric)

    def _pose(self, landmarks: Float[Tensor, "batch num_landmarks 3"]) -> _PosedSurface:
        control_points: Tensor = self.control_point_weights @ landmarks
        corners = control_points[:, self.triangles]
        head = torch.arange(len(landmarks), device=landmarks.device)[:, None, None]
        return _PosedSurface(
            control_points=control_points,
            planes=_planes(corners, self.handicap),
            middles=corners.mean(dim=2),
            first_control_point=head * control_points.shape[1],
            first_triangle=head * len(self.triangles),
        )

    def _bind(
        self,
        surfaces: _PosedSurface,
        points: Float[Tensor, "batch num_points 3"],
        landmarks: Float[Tensor, "batch num_landmarks 3"],
    ) -> tuple[SurfaceBinding, Int64[Tensor, "batch num_points"]]:
        """Return the bindings of points, and the triangles of their heads that they are bound to."""
        num_irises = len(self.irises)
        vertices, irises = surfaces.control_points.split(
            (surfaces.control_points.shape[1] - num_irises, num_irises), dim=1
        )
        sought = torch.cat((points, irises), dim=1)
        # Squared distances without the point's own square, which is the same for all.
        nearness = sought @ surfaces.middles.mT - 0.5 * surfaces.middles.square().sum(dim=-1).unsqueeze(1)
        near = self.around_middle[nearness.argmax(dim=-1)] + surfaces.first_triangle
        triangle, barycentric, distance = _nearest(sought, surfaces.planes, near)
        triangle = triangle % len(self.triangles)
        corners = self.triangles[triangle]
        counts = (points.shape[1], num_irises)
        corners, under = corners.split(counts, dim=1)
        barycentric, under_barycentric = barycentric.split(counts, dim=1)
        triangle, distance = triangle[:, : counts[0]], distance[:, : counts[0]]
        if num_irises:
            away = torch.cdist(points, irises) / self._iris_radii(irises, landmarks)
            belongs = self.is_between_lids[triangle] & (distance < _EYEBALL_CM).unsqueeze(-1)
            weight, iris = (torch.sigmoid((_IRIS_REACH - away) / _IRIS_RIM) * belongs).max(dim=-1, keepdim=True)
            chosen = iris.expand(-1, -1, 3)
            of_iris = torch.cat((iris + vertices.shape[1], under.gather(1, chosen)), dim=-1)
            iris_weights = torch.cat((weight, -weight * under_barycentric.gather(1, chosen)), dim=-1)
        else:
            of_iris = corners.new_zeros((*triangle.shape, 4))
            iris_weights = barycentric.new_zeros((*triangle.shape, 4))
        control_points = torch.cat((corners, of_iris), dim=-1) + surfaces.first_control_point
        return SurfaceBinding(control_points, torch.cat((barycentric, iris_weights), dim=-1)), triangle

    def _iris_radii(
        self, irises: Float[Tensor, "batch num_irises 3"], landmarks: Float[Tensor, "batch num_landmarks 3"]
    ) -> Float[Tensor, "batch 1 num_irises"]:
        away = landmarks[:, self.irises[:, 1:]] - irises.unsqueeze(2)
        radii: Tensor = away.norm(dim=-1).mean(dim=-1).clamp(min=_SLIVER)
        return radii.unsqueeze(1)


def _weighted_sum(
    values: Float[Tensor, "num_control_points channels"],
    control_points: Int64[Tensor, "*points k"],
    weights: Float[Tensor, "*points k"],
) -> Float[Tensor, "*points channels"]:
    # index_select, because the gradient of indexing sorts on a GPU, which takes ten times as long.
    total = torch.zeros((), device=values.device)
    for index, weight in zip(control_points.unbind(dim=-1), weights.unbind(dim=-1), strict=True):
        total = total + values.index_select(0, index.flatten()).unflatten(0, index.shape) * weight.unsqueeze(-1)
    return total


def _planes(
    corners: Float[Tensor, "batch num_triangles 3 3"], handicap: Float[Tensor, " num_triangles"]
) -> Float[Tensor, "20 all_triangles"]:
    """Return the precomputed terms of triangles that `_nearest` needs, those of one head after those of another.

    A corner, the edges e and f from it, a = e.e, 2 b = 2 e.f, c = f.f, and what solves for weights of the other
    corners: c, -b and a over a c - b^2 for the foot of the perpendicular; 1 / a, 1 / c, (a - b) / d and 1 / d, where d
    is the square of the third edge, for those on the edges; and a squared distance that counts beside the true one.
    """
    first, second, third = corners.flatten(0, 1).unbind(dim=1)
    right, left = second - first, third - first
    a, b, c = ((one * other).sum(dim=-1) for one, other in ((right, right), (right, left), (left, left)))
    area, side = (a * c - b * b).clamp(min=_SLIVER), (a - 2 * b + c).clamp(min=_SLIVER)
    over_a, over_c = (1 / edge.clamp(min=_SLIVER) for edge in (a, c))
    products = torch.stack((a, 2 * b, c, c / area, -b / area, a / area, over_a, over_c, (a - b) / side), dim=-1)
    last = torch.stack((1 / side, handicap.repeat(len(corners))), dim=-1)
    return torch.cat((first, right, left, products, last), dim=-1).mT.contiguous()


def _nearest(
    points: Float[Tensor, "batch num_points 3"],
    planes: Float[Tensor, "20 all_triangles"],
    candidates: Int64[Tensor, "batch num_points most"],
) -> tuple[Int64[Tensor, "batch num_points"], Float[Tensor, "batch num_points 3"], Float[Tensor, "batch num_points"]]:
    """Return the nearest candidate, the barycentric weights of its point nearest to ours, and the distance to it.

    That point is the foot of the perpendicular where it lies within, otherwise the nearest of those on the edges. All
    sums run over the first axis, and there are few operations, because launching them takes most of the time on a GPU.
    """
    chosen = planes.index_select(1, candidates.flatten()).unflatten(1, candidates.shape)
    corner, edges, (a, twice_b, c, p, q, r, over_a, over_c, start, over_side, extra) = chosen.split((3, 6, 11))
    away = points.movedim(-1, 0).unsqueeze(-1) - corner
    on_edges = (edges.unflatten(0, (2, 3)) * away).sum(dim=1)
    along, across = on_edges
    foot_v, foot_w = torch.addcmul(p * along, q, across), torch.addcmul(q * along, r, across)
    on_side = torch.addcmul(start, across - along, over_side)
    on_first, on_second, on_side = torch.stack((along * over_a, across * over_c, on_side)).clamp(0, 1)
    zero = torch.zeros_like(along)
    v = torch.stack((foot_v, on_first, zero, 1 - on_side))
    w = torch.stack((foot_w, zero, on_second, on_side))
    twice_along, twice_across = 2 * on_edges
    squared = v * (torch.addcmul(a * v, twice_b, w) - twice_along) + w * (c * w - twice_across)
    squared[0].masked_fill_((torch.minimum(foot_v, foot_w) < 0) | (foot_v + foot_w > 1), torch.inf)
    squared, feet = squared.min(dim=0, keepdim=True)
    v, w = v.gather(0, feet)[0], w.gather(0, feet)[0]
    squared, best = (squared[0] + away.square().sum(dim=0) + extra).min(dim=-1, keepdim=True)
    v, w = v.gather(2, best), w.gather(2, best)
    barycentric = torch.cat((1 - v - w, v, w), dim=-1)
    return candidates.gather(2, best).squeeze(2), barycentric, squared.squeeze(2).clamp(min=0).sqrt()


def _control_point_weights(landmarks: LandmarkSet) -> Float[Tensor, "num_control_points num_landmarks"]:
    """Return the weights of the landmarks in the vertices of the surface, and then in the irises."""
    count = len(landmarks.neutral)
    irises = torch.zeros(len(landmarks.irises), count)
    for row, indices in zip(irises, landmarks.irises.values(), strict=True):
        row[list(indices)] = 1 / len(indices)
    if landmarks.vertex_weights is None:
        vertices = torch.eye(int(landmarks.triangles.max()) + 1, count)
    else:
        vertices = torch.from_numpy(landmarks.vertex_weights).float()
    return torch.cat((vertices, irises))


def _between_lids(landmarks: LandmarkSet) -> Bool[Tensor, "num_triangles num_irises"]:
    """Return which triangles lie between the lids before each iris."""
    triangles = torch.from_numpy(landmarks.triangles)
    lids = [torch.tensor(landmarks.contours[name]) for name in landmarks.irises]
    inside = [torch.isin(triangles, lid).all(dim=-1) for lid in lids]
    return torch.stack(inside, dim=-1) if inside else torch.zeros(len(triangles), 0, dtype=torch.bool)


def _neighbours(triangles: Int64[Tensor, "num_triangles 3"], shared: int) -> Int64[Tensor, "num_triangles most"]:
    """Return the triangles that share so many corners with each, itself included; its first one pads the row."""
    touches = torch.zeros(len(triangles), int(triangles.max()) + 1)
    touches[torch.arange(len(triangles)).unsqueeze(1), triangles] = 1
    rows = [row.nonzero()[:, 0] for row in touches @ touches.mT >= shared]
    most = max(len(row) for row in rows)
    return torch.stack([torch.cat((row, row[:1].expand(most - len(row)))) for row in rows])
