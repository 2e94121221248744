"""Depth map -> symmetric head cloud (METHOD: coarse cloud P_c, mirrored and voxel-filtered)."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mggtalk.geometry.cameras import invert_rigid, pixel_centers, rotate_directions, transform_points, unproject
from mggtalk.geometry.symmetry import keep_mirrored, mirror_points
from mggtalk.records import HeadCloud


def symmetric_cloud(
    depth: Float[Tensor, "height width"],
    normals: Float[Tensor, "height width 3"],
    head_to_camera: Float[Tensor, "4 4"],
    intrinsics: Float[Tensor, "3 3"],
    stride: int,
    voxel_size: float,
) -> HeadCloud:
    """Return the visible points of a depth map and those mirrored ones that fall where no visible point is.

    Args:
        depth: z in cm, 0 where unknown. normals: unit, camera frame; zero where unknown, and such pixels give no point.
        stride: take every `stride`-th pixel in both directions. voxel_size: cm.
    """
    height, width = depth.shape
    taken = torch.zeros_like(depth, dtype=torch.bool)
    taken[stride // 2 :: stride, stride // 2 :: stride] = True
    taken &= (depth > 0) & (normals.abs().sum(dim=-1) > 0)
    pixels = pixel_centers(height, width)[taken]
    camera_to_head = invert_rigid(head_to_camera)
    visible = transform_points(camera_to_head, unproject(pixels, depth[taken], intrinsics))
    visible_normals = rotate_directions(camera_to_head, normals[taken])
    mirrored = mirror_points(visible)
    head = torch.zeros(len(visible), dtype=torch.int64)
    twin = keep_mirrored(visible, mirrored, head, head, voxel_size).nonzero()[:, 0]
    source_pixel = (pixels - 0.5).round().to(torch.int16)
    return HeadCloud(
        positions=torch.cat((visible, mirrored[twin])).numpy(),
        normals=torch.cat((visible_normals, mirror_points(visible_normals)[twin])).numpy(),
        source_pixel=torch.cat((source_pixel, source_pixel[twin])).numpy(),
        twin=np.concatenate((np.full(len(visible), -1, np.int32), twin.numpy().astype(np.int32))),
    )
