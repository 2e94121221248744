"""Frames as batches of tensors on a device."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from mggtalk.records import HeadFrame, SourceFrame, StoredSource


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
    landmarks: Float[Tensor, "batch num_landmarks 3"]
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


CPU = torch.device("cpu")


def collate_sources(sources: Sequence[SourceFrame | StoredSource], device: torch.device = CPU) -> SourceBatch:
    """Return source frames of one size as a batch; all of them resampled, or all as stored."""
    frames = [source.frame for source in sources]
    depth, normals = _geometry(sources, device)
    return SourceBatch(
        image=_images(frames, device),
        head_mask=_masks([frame.head_mask for frame in frames], device),
        valid=_masks([frame.valid for frame in frames], device),
        depth=depth.unsqueeze(1),
        normals=normals.permute(0, 3, 1, 2),
        landmarks=_stack([frame.landmarks for frame in frames], device),
        expression=_stack([frame.expression for frame in frames], device),
        head_to_camera=_stack([frame.head_to_camera for frame in frames], device),
        intrinsics=_stack([frame.intrinsics for frame in frames], device),
    )


def collate_drivers(frames: Sequence[HeadFrame], device: torch.device = CPU) -> DriverBatch:
    """Return what drives a head from these frames."""
    return DriverBatch(
        expression=_stack([frame.expression for frame in frames], device),
        head_to_camera=_stack([frame.head_to_camera for frame in frames], device),
        intrinsics=_stack([frame.intrinsics for frame in frames], device),
    )


def collate_targets(frames: Sequence[HeadFrame], device: torch.device = CPU) -> TargetBatch:
    """Return these frames as ground truth."""
    return TargetBatch(
        image=_images(frames, device),
        head_mask=_masks([frame.head_mask for frame in frames], device),
        valid=_masks([frame.valid for frame in frames], device),
    )


def _geometry(
    sources: Sequence[SourceFrame | StoredSource], device: torch.device
) -> tuple[Float[Tensor, "batch height width"], Float[Tensor, "batch height width 3"]]:
    """Return depth in cm and unit normals; from what `shards.images` stores, or as they are."""
    stored = [source for source in sources if isinstance(source, StoredSource)]
    if not stored:
        resampled = [source for source in sources if isinstance(source, SourceFrame)]
        depth = _stack([source.depth for source in resampled], device)
        return depth, _stack([source.normals for source in resampled], device)
    scale = torch.tensor([source.depth_scale for source in stored], dtype=torch.float32, device=device)
    depth = _stack([source.depth_units for source in stored], device) * scale[:, None, None]
    colors = _stack([source.normal_colors for source in stored], device)
    known = (colors > 0).any(dim=-1, keepdim=True)
    return depth, functional.normalize(colors * (2 / 255) - 1, dim=-1) * known


def _stack(arrays: Sequence[np.ndarray], device: torch.device) -> Tensor:
    """Return arrays as one tensor of floats, which they become on the device: as bytes there is less to move."""
    return torch.stack([torch.from_numpy(array).to(device) for array in arrays]).float()


def _images(frames: Sequence[HeadFrame], device: torch.device) -> Float[Tensor, "batch 3 height width"]:
    return _stack([frame.image for frame in frames], device).permute(0, 3, 1, 2) / 255.0


def _masks(
    masks: Sequence[Bool[np.ndarray, "height width"]], device: torch.device
) -> Float[Tensor, "batch 1 height width"]:
    return _stack(masks, device).unsqueeze(1)
