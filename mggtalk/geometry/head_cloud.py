"""Depth maps -> symmetric head clouds (the paper's coarse cloud P_c, mirrored and filtered)."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from mggtalk.geometry.cameras import (
    invert_rigid,
    pixel_centers,
    rotate_directions,
    transform_points,
    unproject,
)
from mggtalk.geometry.symmetry import mirror_points, select_mirrored
from mggtalk.records import HeadCloud


@dataclass(frozen=True, slots=True, eq=False)
class SymmetricPoints:
    """The points of a batch of heads in head space, cm: one list, ordered by head.

    Attributes:
        batch_index: which head of the batch a visible point belongs to. pixel: its column and row.
        normals: unit.
        mirror_index: indices of the visible points whose mirror images are kept.
    """

    batch_index: Int64[Tensor, " num_points"]
    pixel: Int64[Tensor, "num_points 2"]
    positions: Float[Tensor, "num_points 3"]
    normals: Float[Tensor, "num_points 3"]
    mirror_index: Int64[Tensor, " num_mirrored"]

    def clouds(self, num_heads: int) -> list[HeadCloud]:
        """Return the cloud of each head of the batch."""
        counts = torch.bincount(self.batch_index, minlength=num_heads).tolist()
        mirrored = torch.bincount(self.batch_index[self.mirror_index], minlength=num_heads).tolist()
        planes = (self.positions, self.normals, self.pixel.to(torch.int16))
        arrays = [tuple(plane.cpu().split(counts)) for plane in planes]
        clouds, first = [], 0
        for number, mirror_index in enumerate(self.mirror_index.cpu().split(mirrored)):
            positions, normals, pixel = (parts[number] for parts in arrays)
            visible = mirror_index - first
            first += counts[number]
            clouds.append(
                HeadCloud(
                    positions=torch.cat((positions, mirror_points(positions[visible]))).numpy(),
                    normals=torch.cat((normals, mirror_points(normals[visible]))).numpy(),
                    source_pixel=torch.cat((pixel, pixel[visible])).numpy(),
                    mirrored_of=np.concatenate(
                        (np.full(len(positions), -1, np.int32), visible.numpy().astype(np.int32))
                    ),
                )
            )
        return clouds


def symmetric_points(
    depth: Float[Tensor, "batch height width"],
    normals: Float[Tensor, "batch height width 3"],
    head_to_camera: Float[Tensor, "batch 4 4"],
    intrinsics: Float[Tensor, "batch 3 3"],
    empty: Bool[Tensor, "batch height width"],
    stride: int,
    voxel_size: float,
) -> SymmetricPoints:
    """Return the visible points of depth maps, and which of them have mirror images where no visible point is.

    A mirrored point is kept where its voxel is free and the map's own view does not show it; see `symmetry`.

    Args:
        depth: z in cm, 0 where unknown. normals: unit, camera frame; zero where unknown, and such pixels give no point.
        empty: where the image shows that no head is.
        stride: take every `stride`-th pixel in both directions. voxel_size: cm.
    """
    batch, height, width = depth.shape
    every = (slice(None), slice(stride // 2, None, stride), slice(stride // 2, None, stride))
    taken = ((depth[every] > 0) & (normals[every] != 0).any(dim=-1)).reshape(-1).nonzero()[:, 0]
    pixels = pixel_centers(height, width, depth.device)[every[1:]].reshape(1, -1, 2).expand(batch, -1, -1)
    camera_to_head = invert_rigid(head_to_camera)
    points = transform_points(camera_to_head, unproject(pixels, depth[every].reshape(batch, -1), intrinsics))
    batch_index = taken // pixels.shape[1]
    visible = points.reshape(-1, 3)[taken]
    surface = depth.masked_fill(empty, float("inf"))
    kept = select_mirrored(visible, batch_index, surface, head_to_camera, intrinsics, voxel_size)
    return SymmetricPoints(
        batch_index=batch_index,
        pixel=pixels.reshape(-1, 2)[taken].floor().long(),
        positions=visible,
        normals=rotate_directions(camera_to_head, normals[every].reshape(batch, -1, 3)).reshape(-1, 3)[taken],
        mirror_index=kept.nonzero()[:, 0],
    )
