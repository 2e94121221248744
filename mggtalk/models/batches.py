"""Frames as batches of tensors on a device."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mggtalk.records import HeadFrame, SourceFrame


class _Movable:
    """Mixin: a frozen dataclass of tensors that moves to a device as one."""

    def to(self, device: torch.device | str) -> Self:
        """Return the same batch on `device`."""
        moved = {entry.name: getattr(self, entry.name) for entry in fields(self)}  # type: ignore[arg-type]
        return type(self)(**{name: value.to(device, non_blocking=True) for name, value in moved.items()})


@dataclass(frozen=True, slots=True, eq=False)
class SourceBatch(_Movable):
    """Source frames. Images in [0, 1]; see `records.SourceFrame` for frames and units."""

    image: Float[Tensor, "batch 3 height width"]
    head_mask: Float[Tensor, "batch 1 height width"]
    valid: Float[Tensor, "batch 1 height width"]
    depth: Float[Tensor, "batch 1 height width"]
    normals: Float[Tensor, "batch 3 height width"]
    expression: Float[Tensor, "batch num_coefficients"]
    head_to_camera: Float[Tensor, "batch 4 4"]
    intrinsics: Float[Tensor, "batch 3 3"]


@dataclass(frozen=True, slots=True, eq=False)
class DriverBatch(_Movable):
    """What drives a head: expression, and pose before a camera."""

    expression: Float[Tensor, "batch num_coefficients"]
    head_to_camera: Float[Tensor, "batch 4 4"]
    intrinsics: Float[Tensor, "batch 3 3"]


@dataclass(frozen=True, slots=True, eq=False)
class TargetBatch(_Movable):
    """What a driven head should look like."""

    image: Float[Tensor, "batch 3 height width"]
    head_mask: Float[Tensor, "batch 1 height width"]
    valid: Float[Tensor, "batch 1 height width"]


@dataclass(frozen=True, slots=True, eq=False)
class TrackBatch(_Movable):
    """Landmarks of frame pairs without their pictures, in head space, cm, and the expressions that go with them."""

    source_landmarks: Float[Tensor, "batch num_landmarks 3"]
    target_landmarks: Float[Tensor, "batch num_landmarks 3"]
    source_expression: Float[Tensor, "batch num_coefficients"]
    target_expression: Float[Tensor, "batch num_coefficients"]


def collate_sources(sources: Sequence[SourceFrame]) -> SourceBatch:
    """Return source frames of one size as a batch."""
    frames = [source.frame for source in sources]
    return SourceBatch(
        image=_images(frames),
        head_mask=_masks([frame.head_mask for frame in frames]),
        valid=_masks([frame.valid for frame in frames]),
        depth=_stack([source.depth for source in sources]).unsqueeze(1),
        normals=_stack([source.normals for source in sources]).permute(0, 3, 1, 2),
        expression=_stack([frame.expression for frame in frames]),
        head_to_camera=_stack([frame.head_to_camera for frame in frames]),
        intrinsics=_stack([frame.intrinsics for frame in frames]),
    )


def collate_drivers(frames: Sequence[HeadFrame]) -> DriverBatch:
    """Return what drives a head from these frames."""
    return DriverBatch(
        expression=_stack([frame.expression for frame in frames]),
        head_to_camera=_stack([frame.head_to_camera for frame in frames]),
        intrinsics=_stack([frame.intrinsics for frame in frames]),
    )


def collate_targets(frames: Sequence[HeadFrame]) -> TargetBatch:
    """Return these frames as ground truth."""
    return TargetBatch(
        image=_images(frames),
        head_mask=_masks([frame.head_mask for frame in frames]),
        valid=_masks([frame.valid for frame in frames]),
    )


def _stack(arrays: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(arrays).astype(np.float32, copy=False))


def _images(frames: Sequence[HeadFrame]) -> Float[Tensor, "batch 3 height width"]:
    return _stack([frame.image for frame in frames]).permute(0, 3, 1, 2) / 255.0


def _masks(masks: Sequence[Bool[np.ndarray, "height width"]]) -> Float[Tensor, "batch 1 height width"]:
    return _stack(masks).unsqueeze(1)
