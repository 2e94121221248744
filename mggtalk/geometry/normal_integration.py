"""Surface reconstruction: the depth map that agrees with a normal map and stays near a rough depth.

Source: Cao et al., Bilateral Normal Integration (ECCV 2022): log depth under a perspective camera, one-sided residuals
to the left, right, upper and lower neighbour, weighted against each other by a logistic function of how steep each side
is, and a term that ties the result to a known depth. From the equations; no code was read. Deviations:

* Each one-sided residual belongs to the edge between two pixels, so the normal equations are a graph Laplacian: two
  planes of edge weights, never a matrix.
* They are solved by conjugate gradients, preconditioned by one multigrid V-cycle whose coarser pixels are blocks of
  2 x 2 and whose coarser edges are those that cross between blocks (Braess, 1995).
* The rough depth counts much at first and less from round to round: a first surface that knows where the depth jumps
  spares most rounds.
* The number of steps is fixed: a frame's result does not depend on its batch, and nothing waits for the GPU.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from mggtalk.geometry.cameras import pixel_centers

Plane = Float[Tensor, "batch height width"]

_FIRST_REACH_PX = 3.0
"""In the first round: noise is averaged already, and jumps of the rough depth are still seen."""
_DAMPING = 0.8
_GRIDS = 4
"""More change nothing: farther than some 30 pixels away the rough depth decides."""
_BLOCK = 1 << (_GRIDS - 1)
"""Side of a pixel of the coarsest grid; the solved region begins and ends at multiples of it."""
_COARSEST_STEPS = 4
_COARSE_EDGE = 0.5
"""Two edges in a row between the centres of two blocks, but only the middle one is counted: half its weight."""


@dataclass(frozen=True, slots=True)
class IntegrationSettings:
    """Settings of the reconstruction.

    Attributes:
        reach: distance along the surface within which normals are trusted, in the unit of depth; beyond, the rough
            depth decides.
        sharpness: k of the paper's weights: how firmly the steeper side of a pixel is cut off; 0 is least squares.
        rounds: how often the weights follow the surface. steps: of conjugate gradients in each round.
    """

    reach: float = 1.0
    sharpness: float = 2.0
    rounds: int = 5
    steps: int = 2


_DEFAULT = IntegrationSettings()


@torch.no_grad()
def integrate_normals(
    depth: Plane,
    normals: Float[Tensor, "batch height width 3"],
    intrinsics: Float[Tensor, "batch 3 3"],
    settings: IntegrationSettings = _DEFAULT,
) -> Plane:
    """Return the surface that has the normals where they are known, as z in the unit of `depth`; 0 where that is 0.

    Args:
        depth: rough z; 0 (or no number) where unknown.
        normals: unit, camera frame. Where they are zero or face away, the depth alone counts.
        intrinsics: pixels of the maps.
    """
    box = _box(depth)
    full, depth = depth, depth[box]
    depth = torch.where(depth.isfinite() & (depth > 0), depth, 0.0)
    known = (depth > 0).to(depth.dtype)
    # A difference of logarithms is exact where these are small.
    middle = (depth.sum(dim=(1, 2), keepdim=True) / known.sum(dim=(1, 2), keepdim=True).clamp(min=1)).clamp(min=1e-6)
    rough = _padded(torch.where(depth > 0, depth / middle, 1.0).log())
    known = _padded(known)
    facing, tilt_x, tilt_y = (_padded(plane) for plane in _slopes(normals, intrinsics, box))
    columns = _Direction(known, facing, tilt_x, _per_image(intrinsics[:, 0, 0]), axis=2)
    rows = _Direction(known, facing, tilt_y, _per_image(intrinsics[:, 1, 1]), axis=1)
    # Where the rough depth weighs 1 / n^2, its errors are averaged over some n pixels.
    reach_px = settings.reach * _per_image(intrinsics[:, 0, 0]) / middle
    surface = rough
    for number in range(settings.rounds):
        fraction = number / max(settings.rounds - 1, 1)
        own = known * (_FIRST_REACH_PX ** (1 - fraction) * reach_px**fraction).clamp(min=1.0).pow(-2)
        sharpness = settings.sharpness if number else 0.0  # the rough depth may be all noise from pixel to pixel
        right, rise_x = columns.edges(surface, sharpness)
        below, rise_y = rows.edges(surface, sharpness)
        misfit = (rough - surface).mul_(own)
        _add_flow(misfit, surface.diff(dim=2).mul_(right).sub_(rise_x), axis=2)
        _add_flow(misfit, surface.diff(dim=1).mul_(below).sub_(rise_y), axis=1)
        surface = surface + _correction(_grids(right, below, own), misfit, settings.steps)
    result = torch.zeros_like(full)
    height, width = depth.shape[1:]
    result[box] = torch.where(depth > 0, surface[:, :height, :width].exp() * middle, 0.0)
    return result


def _box(depth: Plane) -> tuple[slice, slice, slice]:
    """Return where anything is known in any map, grown to whole blocks: their position does not depend on the batch."""
    known = (depth > 0).any(dim=0)
    return slice(None), _blocks(known.any(dim=1)), _blocks(known.any(dim=0))


def _blocks(known: Bool[Tensor, " size"]) -> slice:
    indices = known.nonzero()
    low, high = (int(indices[0]), int(indices[-1]) + 1) if len(indices) else (0, 1)
    return slice(low // _BLOCK * _BLOCK, -(-high // _BLOCK) * _BLOCK)


def _slopes(
    normals: Float[Tensor, "batch height width 3"],
    intrinsics: Float[Tensor, "batch 3 3"],
    box: tuple[slice, slice, slice],
) -> tuple[Plane, Plane, Plane]:
    """Return normal . ray (negative; 0 where unknown) and by how much log depth rises a pixel, times minus that."""
    pixels = pixel_centers(normals.shape[1], normals.shape[2], normals.device)[box[1:]]
    normals = normals[box]
    focal_x, focal_y = _per_image(intrinsics[:, 0, 0]), _per_image(intrinsics[:, 1, 1])
    ray_x = (pixels[..., 0] - _per_image(intrinsics[:, 0, 2])) / focal_x
    ray_y = (pixels[..., 1] - _per_image(intrinsics[:, 1, 2])) / focal_y
    facing = normals[..., 0] * ray_x + normals[..., 1] * ray_y + normals[..., 2]
    seen = facing < 0  # and a number
    tilts = (normals[..., 0] / focal_x, normals[..., 1] / focal_y)
    facing, tilt_x, tilt_y = (torch.where(seen, plane, 0.0) for plane in (facing, *tilts))
    return facing, tilt_x, tilt_y


class _Direction:
    """The residuals between neighbours along one axis."""

    def __init__(self, known: Plane, facing: Plane, tilt: Plane, focal: Float[Tensor, "batch 1 1"], axis: int) -> None:
        first, second = _ends(known, axis)
        self._edge = first * second
        self._axis = axis
        # Energy of an edge over which log depth rises by d: sum over its two pixels of (facing d + tilt)^2.
        self._square, self._product = facing.square(), facing * tilt
        self._has_before, self._has_after = torch.zeros_like(known), torch.zeros_like(known)
        _ends(self._has_before, axis)[1].copy_(self._edge)
        _ends(self._has_after, axis)[0].copy_(self._edge)
        self._has_both = self._has_before * self._has_after
        self._steepness = self._square * focal.square()
        self._jump = torch.zeros_like(known)

    def edges(self, surface: Plane, sharpness: float) -> tuple[Plane, Plane]:
        """Return the weight of each edge, and weight times the rise that its pixels' normals ask for."""
        squared = surface.diff(dim=self._axis).mul_(self._edge).square_()
        jump = self._jump.zero_()  # of the side before a pixel, less that of the side after it
        _ends(jump, self._axis)[1].add_(squared)
        _ends(jump, self._axis)[0].sub_(squared)
        forward = jump.mul_(self._steepness).mul_(sharpness).sigmoid_()
        # A pixel with one neighbour follows that one.
        forward = forward.sub_(1.0).mul_(self._has_both).add_(self._has_after)
        backward = self._has_before.addcmul(self._has_both, forward, value=-1)
        return self._between(forward, backward, self._square), self._between(forward, backward, self._product).neg_()

    def _between(self, forward: Plane, backward: Plane, values: Plane) -> Plane:
        first, second = _ends(values, self._axis)
        total = _ends(forward, self._axis)[0] * first
        return total.addcmul_(_ends(backward, self._axis)[1], second)


@dataclass(frozen=True, slots=True, eq=False)
class _Grid:
    """A graph Laplacian on a grid of pixels; `relax` is the damped inverse of its diagonal."""

    right: Plane
    below: Plane
    diagonal: Plane
    relax: Plane

    def add_neighbours(self, total: Plane, values: Plane) -> Plane:
        """Add to `total`, in place, the values of each pixel's neighbours times the weights of the edges to them."""
        total[:, :, 1:].addcmul_(self.right, values[:, :, :-1])
        total[:, :, :-1].addcmul_(self.right, values[:, :, 1:])
        total[:, 1:].addcmul_(self.below, values[:, :-1])
        total[:, :-1].addcmul_(self.below, values[:, 1:])
        return total


def _grids(right: Plane, below: Plane, own: Plane) -> list[_Grid]:
    """Return the system on the finest and all coarser grids."""
    grids: list[_Grid] = []
    while True:
        diagonal = own.clone()
        for edges, axis in ((right, 2), (below, 1)):
            for end in _ends(diagonal, axis):
                end.add_(edges)
        # A pixel without edges or depth has no misfit either: it stays 0 with any factor.
        grids.append(_Grid(right, below, diagonal, _DAMPING / diagonal.clamp(min=1e-30)))
        if len(grids) == _GRIDS:
            return grids
        across, down = right[:, :, 1::2], below[:, 1::2]
        right = (across[:, 0::2] + across[:, 1::2]) * _COARSE_EDGE
        below = (down[:, :, 0::2] + down[:, :, 1::2]) * _COARSE_EDGE
        own = _sums(own)


def _correction(grids: list[_Grid], misfit: Plane, steps: int) -> Plane:
    """Return what some steps of preconditioned conjugate gradients add to the surface; `misfit` is used up.

    Source: Hestenes & Stiefel (1952), with the names of Shewchuk (1994), B3.
    """
    finest = grids[0]
    correction = torch.zeros_like(misfit)
    direction, descent = torch.zeros_like(misfit), misfit.new_ones(len(misfit), 1, 1)
    for _ in range(steps):
        step = _cycle(grids, misfit)
        before, descent = descent, _dot(misfit, step)
        direction = step.addcmul_(direction, descent / before)
        image = finest.add_neighbours(torch.zeros_like(direction), direction).neg_()
        image.addcmul_(finest.diagonal, direction)
        length = descent / _dot(direction, image)
        correction.addcmul_(direction, length)
        misfit.addcmul_(image, length, value=-1)
    return correction


def _cycle(grids: list[_Grid], misfit: Plane, level: int = 0) -> Plane:
    """Return about what corrects the misfit on this grid: one V-cycle with a damped Jacobi step before and after."""
    grid = grids[level]
    step = grid.relax * misfit
    if level == len(grids) - 1:
        for _ in range(_COARSEST_STEPS):
            step = _relaxed(grid, misfit, step)
        return step
    left = grid.add_neighbours(misfit * (1 - _DAMPING), step)
    coarse = _cycle(grids, _sums(left), level + 1)
    for row in (0, 1):
        for column in (0, 1):
            step[:, row::2, column::2] += coarse
    return _relaxed(grid, misfit, step)


def _relaxed(grid: _Grid, misfit: Plane, step: Plane) -> Plane:
    wanted = grid.add_neighbours(misfit.clone(), step)
    return step.mul_(1 - _DAMPING).addcmul_(grid.relax, wanted)


def _sums(plane: Plane) -> Plane:
    """Return the sum of each block of 2 x 2: faster so than by a pooling operation."""
    rows = plane[:, 0::2] + plane[:, 1::2]
    return rows[:, :, 0::2] + rows[:, :, 1::2]


def _ends(plane: Plane, axis: int) -> tuple[Plane, Plane]:
    """Return the two pixels of every edge along an axis."""
    last = plane.shape[axis] - 1
    return plane.narrow(axis, 0, last), plane.narrow(axis, 1, last)


def _add_flow(plane: Plane, flow: Plane, axis: int) -> None:
    first, second = _ends(plane, axis)
    first += flow
    second -= flow


def _dot(first: Plane, second: Plane) -> Float[Tensor, "batch 1 1"]:
    return (first * second).sum(dim=(1, 2), keepdim=True).clamp(min=1e-30)


def _per_image(values: Float[Tensor, " batch"]) -> Float[Tensor, "batch 1 1"]:
    return values.reshape(-1, 1, 1)


def _padded(plane: Plane) -> Plane:
    height, width = plane.shape[1:]
    return functional.pad(plane, (0, -width % _BLOCK, 0, -height % _BLOCK))
