"""The face's surface as the landmarks span it, and the points of head space that hang on it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from mggtalk.geometry.head.landmark_sets import LandmarkSet, landmark_set

_IRIS_REACH, _IRIS_RIM = 1.35, 0.15
"""Where an iris ceases to take the eyeball along, and how softly, in radii of its ring of landmarks."""
_EYEBALL_CM = 0.5
"""Farther than this from the surface nothing belongs to an eyeball."""
_LID_EDGE_CM = 0.01
"""Within which the edge of a lid is the lid's and not the eyeball's: its landmarks lie on both."""
_SLIVER = 1e-9
"""Squared length or area below which an edge or a triangle has none."""


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceBinding:
    """Where points hang on the surfaces of a batch of heads.

    Attributes:
        knots: in the list that `FaceSurface.knots` makes of all heads: the corners of a triangle, an iris, and the
            corners of the triangle on which that iris lies.
        shares: of these knots in the point. The first three sum to 1, the others to 0.
    """

    knots: Int64[Tensor, "*points 7"]
    shares: Float[Tensor, "*points 7"]

    def each(self, change: Callable[[Tensor], Tensor]) -> "SurfaceBinding":
        """Return the attachment of the points that `change` picks from each of the tensors."""
        return SurfaceBinding(change(self.knots), change(self.shares))

    def on_surface(self, values: Float[Tensor, "num_knots channels"]) -> Float[Tensor, "*points channels"]:
        """Return what the surface has next to the points, of values at the knots."""
        return _mixed(values, self.knots[..., :3], self.shares[..., :3])

    def carried(self, values: Float[Tensor, "num_knots channels"]) -> Float[Tensor, "*points channels"]:
        """Return the same, and on an eyeball, by its share, what its iris has beyond the surface before it."""
        return _mixed(values, self.knots, self.shares)


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    """The surfaces of a batch of heads.

    Attributes:
        knots: the places of vertices, then of irises. planes: what `_nearest` needs of the triangles of all heads.
        middles: of the triangles. first_knot, first_triangle: number of each head's first one among those of all heads.
    """

    knots: Float[Tensor, "batch num_knots 3"]
    planes: Float[Tensor, "20 all_triangles"]
    middles: Float[Tensor, "batch triangles_of_one 3"]
    first_knot: Int64[Tensor, "batch 1 1"]
    first_triangle: Int64[Tensor, "batch 1 1"]


class FaceSurface(nn.Module):
    """The triangles between the landmarks of one set, and what hangs on them.

    A point goes with the triangle next to it, as a mixture of its corners. So each lid goes its own way; a mean of the
    landmarks around held each lid back by the other (docs/experiments.md). Irises are no part of the surface:
    they slide under the lids, and take along what lies around them between the lids.
    """

    def __init__(self, name: str) -> None:
        """Take the surface of the landmark set called `name`.

        Raises:
            StageError: there is no such set.
        """
        super().__init__()
        landmarks = landmark_set(name)
        self.num_landmarks = len(landmarks.neutral)
        self.triangles: Tensor  # buffers, for they go where the points are; not kept, for they are the set's
        self.knot_weights: Tensor
        self.irises: Tensor
        self.is_between_lids: Tensor
        self.handicap: Tensor
        self.around_middle: Tensor
        self.around_triangle: Tensor
        self.register_buffer("triangles", torch.from_numpy(landmarks.triangles), persistent=False)
        # Next to a point is a triangle that shares a corner with the one of the nearest middle: of the points within
        # 3 mm of eight real faces all but 1 in 9,000.
        self.register_buffer("around_middle", _neighbours(self.triangles, 1), persistent=False)
        self.register_buffer("around_triangle", _neighbours(self.triangles, 2), persistent=False)
        self.register_buffer("knot_weights", _knot_weights(landmarks), persistent=False)
        self.register_buffer("irises", torch.tensor([*landmarks.irises.values()], dtype=torch.long), persistent=False)
        self.register_buffer("is_between_lids", _between_lids(landmarks), persistent=False)
        self.register_buffer("handicap", self.is_between_lids.any(dim=1) * _LID_EDGE_CM**2, persistent=False)

    def knots(self, values: Float[Tensor, "batch num_landmarks channels"]) -> Float[Tensor, "num_knots channels"]:
        """Return what the vertices and then the irises have of values at the landmarks, one head after the other."""
        knots: Tensor = self.knot_weights @ values
        return knots.flatten(0, 1)

    @torch.no_grad()
    def attach(
        self, points: Float[Tensor, "batch num_points 3"], landmarks: Float[Tensor, "batch num_landmarks 3"]
    ) -> SurfaceBinding:
        """Return where points hang; points and landmarks of the same frame of a head, in head space, cm."""
        return self._attach(self._place(landmarks), points, landmarks)[0]

    @torch.no_grad()
    def attach_families(
        self,
        points: Float[Tensor, "batch num_points 3"],
        children: Float[Tensor, "batch num_points num_children 3"],
        landmarks: Float[Tensor, "batch num_landmarks 3"],
    ) -> tuple[SurfaceBinding, SurfaceBinding]:
        """Return where points and the children close to each of them hang.

        A child hangs on the triangle of its parent or on one beside that, and goes with the same iris.
        """
        placed = self._place(landmarks)
        parents, triangle = self._attach(placed, points, landmarks)
        num_children = children.shape[2]
        near = self.around_triangle[triangle].repeat_interleave(num_children, dim=1)
        own, shares, _ = _nearest(children.flatten(1, 2), placed.planes, near + placed.first_triangle)
        families = children.shape[:3]
        corners = (self.triangles[own % len(self.triangles)] + placed.first_knot).unflatten(1, families[1:])
        knots, of_iris = (part[..., 3:].unsqueeze(2).expand(*families, -1) for part in (parents.knots, parents.shares))
        shares = torch.cat((shares.unflatten(1, families[1:]), of_iris), dim=-1)
        return parents, SurfaceBinding(torch.cat((corners, knots), dim=-1), shares)

    def _place(self, landmarks: Float[Tensor, "batch num_landmarks 3"]) -> _Placed:
        knots: Tensor = self.knot_weights @ landmarks
        corners = knots[:, self.triangles]
        head = torch.arange(len(landmarks), device=landmarks.device)[:, None, None]
        return _Placed(
            knots=knots,
            planes=_planes(corners, self.handicap),
            middles=corners.mean(dim=2),
            first_knot=head * knots.shape[1],
            first_triangle=head * len(self.triangles),
        )

    def _attach(
        self,
        placed: _Placed,
        points: Float[Tensor, "batch num_points 3"],
        landmarks: Float[Tensor, "batch num_landmarks 3"],
    ) -> tuple[SurfaceBinding, Int64[Tensor, "batch num_points"]]:
        """Return where points hang, and on which triangle of their head."""
        num_irises = len(self.irises)
        vertices, irises = placed.knots.split((placed.knots.shape[1] - num_irises, num_irises), dim=1)
        sought = torch.cat((points, irises), dim=1)
        # Squared distances but for the point's own square, which is the same for all.
        nearness = sought @ placed.middles.mT - 0.5 * placed.middles.square().sum(dim=-1).unsqueeze(1)
        near = self.around_middle[nearness.argmax(dim=-1)] + placed.first_triangle
        triangle, shares, distance = _nearest(sought, placed.planes, near)
        triangle = triangle % len(self.triangles)
        corners = self.triangles[triangle]
        counts = (points.shape[1], num_irises)
        (corners, under), (shares, under_shares) = corners.split(counts, dim=1), shares.split(counts, dim=1)
        triangle, distance = triangle[:, : counts[0]], distance[:, : counts[0]]
        if num_irises:
            away = torch.cdist(points, irises) / self._iris_radii(irises, landmarks)
            belongs = self.is_between_lids[triangle] & (distance < _EYEBALL_CM).unsqueeze(-1)
            share, iris = (torch.sigmoid((_IRIS_REACH - away) / _IRIS_RIM) * belongs).max(dim=-1, keepdim=True)
            chosen = iris.expand(-1, -1, 3)
            of_iris = torch.cat((iris + vertices.shape[1], under.gather(1, chosen)), dim=-1)
            iris_shares = torch.cat((share, -share * under_shares.gather(1, chosen)), dim=-1)
        else:
            of_iris, iris_shares = corners.new_zeros((*triangle.shape, 4)), shares.new_zeros((*triangle.shape, 4))
        knots = torch.cat((corners, of_iris), dim=-1) + placed.first_knot
        return SurfaceBinding(knots, torch.cat((shares, iris_shares), dim=-1)), triangle

    def _iris_radii(
        self, irises: Float[Tensor, "batch num_irises 3"], landmarks: Float[Tensor, "batch num_landmarks 3"]
    ) -> Float[Tensor, "batch 1 num_irises"]:
        away = landmarks[:, self.irises[:, 1:]] - irises.unsqueeze(2)
        radii: Tensor = away.norm(dim=-1).mean(dim=-1).clamp(min=_SLIVER)
        return radii.unsqueeze(1)


def _mixed(
    values: Float[Tensor, "num_knots channels"], knots: Int64[Tensor, "*points k"], shares: Float[Tensor, "*points k"]
) -> Float[Tensor, "*points channels"]:
    # index_select, for the gradient of indexing sorts on a GPU, which takes ten times as long.
    mixture = torch.zeros((), device=values.device)
    for knot, share in zip(knots.unbind(dim=-1), shares.unbind(dim=-1), strict=True):
        mixture = mixture + values.index_select(0, knot.flatten()).unflatten(0, knot.shape) * share.unsqueeze(-1)
    return mixture


def _planes(
    corners: Float[Tensor, "batch num_triangles 3 3"], handicap: Float[Tensor, " num_triangles"]
) -> Float[Tensor, "20 all_triangles"]:
    """Return what `_nearest` needs of triangles, those of one head after those of another.

    A corner, the edges e and f from it, a = e.e, 2 b = 2 e.f, c = f.f, and what solves for shares of the other corners:
    c, -b and a over a c - b^2 for the foot of the perpendicular; 1 / a, 1 / c, (a - b) / d and 1 / d, where d is the
    square of the third edge, for those on the edges; and a squared distance that counts beside the true one.
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
    """Return which candidate is nearest, the shares of its corners in its point next to ours, and how far that is.

    That point is the foot of the perpendicular where it lies within, otherwise the nearest of those on the edges. All
    sums run over the first axis, and few operations do all: a photo on a GPU takes as long as these take to launch.
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
    shares = torch.cat((1 - v - w, v, w), dim=-1)
    return candidates.gather(2, best).squeeze(2), shares, squared.squeeze(2).clamp(min=0).sqrt()


def _knot_weights(landmarks: LandmarkSet) -> Float[Tensor, "num_knots num_landmarks"]:
    """Return how the vertices of the surface, and then the irises, follow the landmarks."""
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
    """Return the triangles that share so many corners with each, itself included; its first one fills the row."""
    touches = torch.zeros(len(triangles), int(triangles.max()) + 1)
    touches[torch.arange(len(triangles)).unsqueeze(1), triangles] = 1
    rows = [row.nonzero()[:, 0] for row in touches @ touches.mT >= shared]
    most = max(len(row) for row in rows)
    return torch.stack([torch.cat((row, row[:1].expand(most - len(row)))) for row in rows])
