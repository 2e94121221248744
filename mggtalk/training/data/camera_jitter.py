"""Jitters the cameras of pairs: rolls them about the optical axis, zooms, and shifts the crop.

Pose and intrinsics stay exact, because all three are motions of a pinhole camera. Images and depth are resampled, which
blurs an edge over a pixel.
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

_MIN_COVERAGE = 0.5
"""The fraction of a pixel that has to be known."""


@dataclass(frozen=True, eq=False)
class CameraJitter:
    """Roll, zoom and shift of each camera of a batch.

    Attributes:
        roll_deg: clockwise turn of the image about its middle. zoom: magnification about its middle.
        shift_px: of the image, applied after roll and zoom.
    """

    roll_deg: Float[Tensor, " batch"]
    zoom: Float[Tensor, " batch"]
    shift_px: Float[Tensor, "batch 2"]

    @cached_property
    def rotations(self) -> Float[Tensor, "batch 3 3"]:
        """Rotations about the optical axis, in the camera frame."""
        angle = self.roll_deg * (math.pi / 180)
        cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
        return torch.stack((cos, -sin, zero, sin, cos, zero, zero, zero, one), dim=-1).reshape(-1, 3, 3)

    def map_pixels(self, points: Float[Tensor, "batch *points 2"], size: int) -> Float[Tensor, "batch *points 2"]:
        """Return the new positions of points of the images, which are `size` pixels square."""
        rows = points.reshape(len(points), -1, 2)
        turned = (rows - size / 2) @ (self.rotations[:, :2, :2] * self.zoom[:, None, None]).mT
        return (turned + size / 2 + self.shift_px.unsqueeze(1)).reshape(points.shape)

    def sampling_grid(self, size: int) -> Float[Tensor, "batch size size 2"]:
        """Return the origin of each pixel of the jittered images, with -1 and 1 at the borders of the image."""
        after = pixel_centers(size, size, self.zoom.device).reshape(1, -1, 2) - size / 2 - self.shift_px.unsqueeze(1)
        before = after @ (self.rotations[:, :2, :2] / self.zoom[:, None, None])
        return (before * (2 / size)).reshape(-1, size, size, 2)

    def intrinsics(self, intrinsics: Float[Tensor, "batch 3 3"], size: int) -> Float[Tensor, "batch 3 3"]:
        """Return the jittered cameras' intrinsics; pixels are assumed square, as those of tracks are."""
        jittered = intrinsics.clone()
        jittered[:, 0, 0] *= self.zoom
        jittered[:, 1, 1] *= self.zoom
        jittered[:, :2, 2] = self.map_pixels(intrinsics[:, :2, 2], size)
        return jittered

    def pose(self, head_to_camera: Float[Tensor, "batch 4 4"]) -> Float[Tensor, "batch 4 4"]:
        """Return the heads' poses in the jittered cameras."""
        jittered = head_to_camera.clone()
        jittered[:, :3] = self.rotations @ head_to_camera[:, :3]
        return jittered


def jittered_source(source: SourceBatch, jitter: CameraJitter) -> SourceBatch:
    """Return sources as the jittered cameras see them; pixels from outside the old image are not valid."""
    known, grid = (source.depth > 0).float(), jitter.sampling_grid(source.image.shape[-1])
    image, valid = _resampled(source.image, source.valid, grid)
    surface, is_known = _resampled(torch.cat((source.depth, source.normals), dim=1), known, grid)
    normals = torch.einsum("bij,bjhw->bihw", jitter.rotations, surface[:, 1:])
    return dataclasses.replace(
        source,
        image=image,
        valid=valid,
        head_mask=_resampled(source.head_mask, torch.ones_like(known), grid)[0].round(),
        depth=surface[:, :1],
        normals=functional.normalize(normals, dim=1) * is_known,
        head_to_camera=jitter.pose(source.head_to_camera),
        intrinsics=jitter.intrinsics(source.intrinsics, source.image.shape[-1]),
    )


def jittered_driver(driver: DriverBatch, jitter: CameraJitter, size: int) -> DriverBatch:
    """Return drivers with the jittered cameras, in images `size` pixels square."""
    return dataclasses.replace(
        driver,
        head_to_camera=jitter.pose(driver.head_to_camera),
        intrinsics=jitter.intrinsics(driver.intrinsics, size),
    )


def jittered_target(target: TargetBatch, jitter: CameraJitter) -> TargetBatch:
    """Return targets as the jittered cameras see them; pixels from outside the old image are not valid."""
    grid = jitter.sampling_grid(target.image.shape[-1])
    image, valid = _resampled(target.image, target.valid, grid)
    return TargetBatch(
        image=image,
        head_mask=_resampled(target.head_mask, torch.ones_like(valid), grid)[0].round(),
        valid=valid,
        landmarks_px=jitter.map_pixels(target.landmarks_px, target.image.shape[-1]),
    )


def _resampled(
    planes: Float[Tensor, "batch channels size size"],
    known: Float[Tensor, "batch 1 size size"],
    grid: Float[Tensor, "batch size size 2"],
) -> tuple[Float[Tensor, "batch channels size size"], Float[Tensor, "batch 1 size size"]]:
    """Resample planes on `grid`, and return with them where at least half of a pixel is known.

    A pixel is the mean over its known part, and 0 where that is less than half.
    """
    sampled = functional.grid_sample(torch.cat((planes * known, known), dim=1), grid, align_corners=False)
    coverage = sampled[:, -1:]
    is_known = (coverage > _MIN_COVERAGE).float()
    return sampled[:, :-1] / coverage.clamp(min=_MIN_COVERAGE) * is_known, is_known
