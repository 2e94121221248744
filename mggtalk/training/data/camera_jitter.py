"""Pairs as other cameras would have seen them: turned about the optical axis, zoomed, and cropped elsewhere.

Pose and intrinsics are exact, for all three are what a pinhole camera can do. Pictures and depth are resampled, so an
edge becomes a pixel wide.
"""

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mggtalk.geometry.cameras import pixel_centers
from mggtalk.models.batches import DriverBatch, SourceBatch, TargetBatch

_COVERED = 0.5
"""Share of a pixel that has to be known."""


@dataclass(frozen=True, eq=False)
class CameraMoves:
    """How each camera of a batch is moved.

    Attributes:
        roll_deg: the picture turns clockwise. zoom: what is seen becomes so many times as large.
        shift_px: of the picture, after both of them, which are about its middle.
    """

    roll_deg: Float[Tensor, " batch"]
    zoom: Float[Tensor, " batch"]
    shift_px: Float[Tensor, "batch 2"]

    @cached_property
    def turns(self) -> Float[Tensor, "batch 3 3"]:
        """Rotations about the optical axis, of directions in the camera frame."""
        angle = self.roll_deg * (math.pi / 180)
        cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
        return torch.stack((cos, -sin, zero, sin, cos, zero, zero, zero, one), dim=-1).reshape(-1, 3, 3)

    def pixels(self, points: Float[Tensor, "batch *points 2"], size: int) -> Float[Tensor, "batch *points 2"]:
        """Return where points of the pictures, `size` pixels square, go."""
        rows = points.reshape(len(points), -1, 2)
        turned = (rows - size / 2) @ (self.turns[:, :2, :2] * self.zoom[:, None, None]).mT
        return (turned + size / 2 + self.shift_px.unsqueeze(1)).reshape(points.shape)

    def origins(self, size: int) -> Float[Tensor, "batch size size 2"]:
        """Return where each pixel of the moved pictures comes from, -1 and 1 at the borders of the picture."""
        seen = pixel_centers(size, size, self.zoom.device).reshape(1, -1, 2) - size / 2 - self.shift_px.unsqueeze(1)
        before = seen @ (self.turns[:, :2, :2] / self.zoom[:, None, None])
        return (before * (2 / size)).reshape(-1, size, size, 2)

    def intrinsics(self, intrinsics: Float[Tensor, "batch 3 3"], size: int) -> Float[Tensor, "batch 3 3"]:
        """Return the moved cameras' intrinsics; pixels are taken for square, as those of tracks are."""
        moved = intrinsics.clone()
        moved[:, 0, 0] *= self.zoom
        moved[:, 1, 1] *= self.zoom
        moved[:, :2, 2] = self.pixels(intrinsics[:, :2, 2], size)
        return moved

    def pose(self, head_to_camera: Float[Tensor, "batch 4 4"]) -> Float[Tensor, "batch 4 4"]:
        """Return the heads' poses before the moved cameras."""
        moved = head_to_camera.clone()
        moved[:, :3] = self.turns @ head_to_camera[:, :3]
        return moved


def moved_source(source: SourceBatch, moves: CameraMoves) -> SourceBatch:
    """Return sources as the moved cameras see them; what they did not see before is not valid."""
    known, origins = (source.depth > 0).float(), moves.origins(source.image.shape[-1])
    image, valid = _resampled(source.image, source.valid, origins)
    surface, is_known = _resampled(torch.cat((source.depth, source.normals), dim=1), known, origins)
    normals = torch.einsum("bij,bjhw->bihw", moves.turns, surface[:, 1:])
    return dataclasses.replace(
        source,
        image=image,
        valid=valid,
        head_mask=_resampled(source.head_mask, torch.ones_like(known), origins)[0].round(),
        depth=surface[:, :1],
        normals=functional.normalize(normals, dim=1) * is_known,
        head_to_camera=moves.pose(source.head_to_camera),
        intrinsics=moves.intrinsics(source.intrinsics, source.image.shape[-1]),
    )


def moved_driver(driver: DriverBatch, moves: CameraMoves, size: int) -> DriverBatch:
    """Return what drives a head before the moved cameras, in pictures `size` pixels square."""
    return dataclasses.replace(
        driver,
        head_to_camera=moves.pose(driver.head_to_camera),
        intrinsics=moves.intrinsics(driver.intrinsics, size),
    )


def moved_target(target: TargetBatch, moves: CameraMoves) -> TargetBatch:
    """Return what is expected as the moved cameras see it; what they did not see before is not valid."""
    origins = moves.origins(target.image.shape[-1])
    image, valid = _resampled(target.image, target.valid, origins)
    return TargetBatch(
        image=image,
        head_mask=_resampled(target.head_mask, torch.ones_like(valid), origins)[0].round(),
        valid=valid,
        landmarks_px=moves.pixels(target.landmarks_px, target.image.shape[-1]),
    )


def _resampled(
    planes: Float[Tensor, "batch channels size size"],
    known: Float[Tensor, "batch 1 size size"],
    origins: Float[Tensor, "batch size size 2"],
) -> tuple[Float[Tensor, "batch channels size size"], Float[Tensor, "batch 1 size size"]]:
    """Return planes as the moved cameras see them, and where at least half of what a pixel sees is known.

    A pixel is the mean of what is known of it, and 0 where that is less than half.
    """
    seen = functional.grid_sample(torch.cat((planes * known, known), dim=1), origins, align_corners=False)
    share = seen[:, -1:]
    is_known = (share > _COVERED).float()
    return seen[:, :-1] / share.clamp(min=_COVERED) * is_known, is_known
