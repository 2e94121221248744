"""Geometry refinement and the symmetric points of a head: I_s^h and its coarse depth -> P_f and S(P_f), filtered.

The paper's P_c is the coarse depth map; the network moves every point along its ray, as reported of the paper
("predicts depth offsets"). Points of all heads of a batch are packed into one list, because their number differs.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from mggtalk.geometry.cameras import invert_rigid, pixel_centers, unproject
from mggtalk.geometry.symmetry import mirror_points, select_mirrored
from mggtalk.models.batches import SourceBatch
from mggtalk.models.config import ModelConfig
from mggtalk.models.networks.layers import RIM_FRACTION, UNet, box_blur
from mggtalk.models.points.async_nonzero import AsyncNonzero

_COVERED = 0.5
_DEPTH_UNIT_CM = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class HeadPoints:
    """Points of a batch of heads in head space, cm.

    Attributes:
        batch_index: which head of the batch a point belongs to.
        cell: row and column in the feature map, one cell for `point_stride`^2 pixels; a mirrored point
            has its visible point's.
        normals: unit, or zero where unknown.
        view_dirs: unit, from the camera to the point; of a mirrored point, mirrored as well.
        source_visibility: cosine between normal and line of sight, and the head's fraction of the image around, which
            is less than 1 near the mask boundary, where artefacts appear. A mirrored point has its visible point's.
        child_offsets: from the parent to the surface points of the source pixels under it.
        pixel_footprint: distance of neighbouring source pixels on the surface's plane parallel to the image, cm.
        colors: of the parent, in [0, 1]. child_colors: of the source pixels under it.
    """

    batch_index: Int64[Tensor, " num_points"]
    cell: Int64[Tensor, "num_points 2"]
    positions: Float[Tensor, "num_points 3"]
    normals: Float[Tensor, "num_points 3"]
    view_dirs: Float[Tensor, "num_points 3"]
    source_visibility: Float[Tensor, "num_points 2"]
    child_offsets: Float[Tensor, "num_points children 3"]
    pixel_footprint: Float[Tensor, " num_points"]
    colors: Float[Tensor, "num_points 3"]
    child_colors: Float[Tensor, "num_points children 3"]

    def mirrored(self, mirror_index: Int64[Tensor, " num_mirrored"]) -> "HeadPoints":
        """Return the mirror images of the points at `mirror_index`."""
        return HeadPoints(
            batch_index=self.batch_index[mirror_index],
            cell=self.cell[mirror_index],
            positions=mirror_points(self.positions.index_select(0, mirror_index)),
            normals=mirror_points(self.normals.index_select(0, mirror_index)),
            view_dirs=mirror_points(self.view_dirs.index_select(0, mirror_index)),
            source_visibility=self.source_visibility[mirror_index],
            child_offsets=mirror_points(self.child_offsets.index_select(0, mirror_index)),
            pixel_footprint=self.pixel_footprint[mirror_index],
            colors=self.colors[mirror_index],
            child_colors=self.child_colors[mirror_index],
        )

    def features(self, features: Float[Tensor, "batch channels rows columns"]) -> Float[Tensor, "num_points channels"]:
        """Sample a feature map at the points' cells."""
        _, _, rows, columns = features.shape
        row, column = self.cell.unbind(dim=1)
        # index_select, because the gradient of indexing sorts on a GPU, which takes ten times as long.
        cells = features.permute(0, 2, 3, 1).flatten(0, 2)
        return cells.index_select(0, (self.batch_index * rows + row) * columns + column)


class GeometryRefinement(nn.Module):
    """2D UNet on image, mask, depth and normals that predicts an offset of the depth for every cell."""

    def __init__(self, settings: ModelConfig) -> None:
        super().__init__()
        self.stride = settings.point_stride
        self.max_offset = settings.max_depth_offset_cm
        self.unet = UNet(8, 1, 2 * settings.unet_channels, settings.unet_levels)

    def forward(self, source: SourceBatch) -> Float[Tensor, "batch 1 rows columns"]:
        """Return offsets of z in cm, at most `max_depth_offset_cm` in either direction."""
        mask = source.head_mask
        origin = source.head_to_camera[:, 2, 3].reshape(-1, 1, 1, 1)
        relative_depth = (source.depth - origin) / _DEPTH_UNIT_CM
        known = mask * (source.depth > 0)
        planes = torch.cat((source.image * mask, mask, relative_depth * known, source.normals * mask), dim=1)
        offset: Tensor = self.unet(functional.avg_pool2d(planes, self.stride))
        return torch.tanh(offset) * self.max_offset


def refined_depth(
    source: SourceBatch, offset: Float[Tensor, "batch 1 rows columns"]
) -> Float[Tensor, "batch 1 height width"]:
    """Return the depth that the offsets make, cm; meaningless where the source has none."""
    return source.depth + functional.interpolate(offset, size=source.depth.shape[-2:], mode="nearest")


def covered_cells(source: SourceBatch, stride: int) -> AsyncNonzero:
    """Return the cells that the head covers: `AsyncNonzero` of a mask of batch, rows and columns."""
    known = _known(source)
    return AsyncNonzero((functional.avg_pool2d(known.float(), stride) > _COVERED)[:, 0])


def lift_points(
    source: SourceBatch, offset: Float[Tensor, "batch 1 rows columns"], stride: int, covered: AsyncNonzero | None = None
) -> HeadPoints:
    """Return the visible points: one for every cell that the head covers, with a child for each source pixel in it.

    Args:
        covered: of `covered_cells`, if they are already being counted.
    """
    batch, _, height, width = source.depth.shape
    known, depth = _known(source), refined_depth(source, offset)
    pixels = pixel_centers(height, width, depth.device).reshape(1, -1, 2).expand(batch, -1, -1)
    camera = unproject(pixels, depth.reshape(batch, -1), source.intrinsics)
    reach = max(round(width * RIM_FRACTION), 1)
    planes = torch.cat(
        (
            camera.transpose(1, 2).reshape(batch, 3, height, width),
            source.normals,
            source.image,
            box_blur(source.head_mask, 2 * reach + 1),
            known.float(),
        ),
        dim=1,
    )
    cells = planes.unfold(2, stride, stride).unfold(3, stride, stride).permute(0, 2, 3, 4, 5, 1)
    rows, columns = cells.shape[1:3]
    batch_index, row, column = (covered or covered_cells(source, stride)).indices().unbind(dim=1)
    chosen = cells.flatten(3, 4).flatten(0, 2).index_select(0, (batch_index * rows + row) * columns + column)
    position, normal, color, around, weight = chosen.split((3, 3, 3, 1, 1), dim=-1)
    fraction = weight / weight.sum(dim=1, keepdim=True)
    camera_to_head = invert_rigid(source.head_to_camera)[batch_index]
    turn, move = camera_to_head[:, :3, :3], camera_to_head[:, :3, 3]
    parent = (fraction * position).sum(dim=1)
    # A pixel of the cell that the head does not cover gives its child the parent's position and colour.
    child = torch.where(weight > 0, position, parent.unsqueeze(1))
    parent_color, parent_normal = (
        (fraction * color).sum(dim=1),
        functional.normalize((fraction * normal).sum(dim=1), dim=-1),
    )
    view_dirs = functional.normalize(parent.detach(), dim=-1)
    facing = -(parent_normal * view_dirs).sum(dim=-1, keepdim=True)
    return HeadPoints(
        batch_index=batch_index,
        cell=torch.stack((row, column), dim=1),
        positions=torch.einsum("nij,nj->ni", turn, parent) + move,
        normals=torch.einsum("nij,nj->ni", turn, parent_normal),
        view_dirs=torch.einsum("nij,nj->ni", turn, view_dirs),
        source_visibility=torch.cat((facing, (fraction * around).sum(dim=1)), dim=-1),
        child_offsets=torch.einsum("nij,nkj->nki", turn, child - parent.unsqueeze(1)),
        pixel_footprint=(parent[:, 2] / source.intrinsics[batch_index, 0, 0]).detach(),
        colors=parent_color,
        child_colors=torch.where(weight > 0, color, parent_color.unsqueeze(1)),
    )


def select_mirrored_points(
    points: HeadPoints, source: SourceBatch, offset: Float[Tensor, "batch 1 rows columns"], voxel_size: float
) -> Bool[Tensor, " num_points"]:
    """Return which points have mirror images on the side that the source does not show.

    These lie where no visible point is, and behind the refined visible surface.
    """
    head = source.head_mask > _COVERED
    surface = torch.where(head & (source.depth > 0), refined_depth(source, offset), 0.0)
    surface = surface.masked_fill(~head & (source.valid > _COVERED), float("inf"))[:, 0]
    return select_mirrored(
        points.positions, points.batch_index, surface, source.head_to_camera, source.intrinsics, voxel_size
    )


def _known(source: SourceBatch) -> Bool[Tensor, "batch 1 height width"]:
    """Return which pixels are the head's and have a depth."""
    return (source.head_mask > _COVERED) & (source.depth > 0)
