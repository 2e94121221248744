"""Pinhole cameras and rigid transforms in torch, differentiable and batched over any leading dimensions.

Camera axes are OpenCV's (x right, y down, z forward); pixel centres lie at +0.5.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def pixel_centers(height: int, width: int, device: torch.device | str = "cpu") -> Float[Tensor, "height width 2"]:
    """Return the (column, row) position of every pixel's centre, in pixels."""
    rows = torch.arange(height, device=device, dtype=torch.float32) + 0.5
    columns = torch.arange(width, device=device, dtype=torch.float32) + 0.5
    return torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)


def unproject(
    pixels: Float[Tensor, "*batch num_points 2"],
    depth: Float[Tensor, "*batch num_points"],
    intrinsics: Float[Tensor, "*batch 3 3"],
) -> Float[Tensor, "*batch num_points 3"]:
    """Return the points of the camera frame that lie at `depth` (z, not ray length) behind `pixels`."""
    focal = torch.stack((intrinsics[..., 0, 0], intrinsics[..., 1, 1]), dim=-1).unsqueeze(-2)
    center = intrinsics[..., :2, 2].unsqueeze(-2)
    return torch.cat(((pixels - center) / focal * depth.unsqueeze(-1), depth.unsqueeze(-1)), dim=-1)


def project(
    points: Float[Tensor, "*batch num_points 3"], intrinsics: Float[Tensor, "*batch 3 3"]
) -> Float[Tensor, "*batch num_points 2"]:
    """Return the pixel position of points of the camera frame; z must be positive."""
    focal = torch.stack((intrinsics[..., 0, 0], intrinsics[..., 1, 1]), dim=-1).unsqueeze(-2)
    return points[..., :2] / points[..., 2:] * focal + intrinsics[..., :2, 2].unsqueeze(-2)


def transform_points(
    matrix: Float[Tensor, "*batch 4 4"], points: Float[Tensor, "*batch num_points 3"]
) -> Float[Tensor, "*batch num_points 3"]:
    """Return `points` taken through the affine transform `matrix`."""
    return points @ matrix[..., :3, :3].transpose(-1, -2) + matrix[..., None, :3, 3]


def rotate_directions(
    matrix: Float[Tensor, "*batch 4 4"], directions: Float[Tensor, "*batch num_points 3"]
) -> Float[Tensor, "*batch num_points 3"]:
    """Return `directions` turned by the rotation of the rigid transform `matrix`."""
    return directions @ matrix[..., :3, :3].transpose(-1, -2)


def invert_rigid(matrix: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 4 4"]:
    """Return the inverse of a rigid transform (rotation and translation; no scale, no shear)."""
    rotation = matrix[..., :3, :3].transpose(-1, -2)
    translation = -(rotation @ matrix[..., :3, 3:])
    return torch.cat((torch.cat((rotation, translation), dim=-1), matrix[..., 3:, :]), dim=-2)
