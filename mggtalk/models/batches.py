"""Frames as batches of tensors on a device."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped, UInt8
from torch import Tensor
from torch.nn import functional

from mggtalk.records import HeadFrame, QuantizedSource, SourceFrame


class _Movable:
    """Mixin: a frozen dataclass of tensors that moves as one."""

    def to(self, device: torch.device | str) -> Self:
        """Return the same batch on `device`; from pinned memory without waiting."""
        return self._each(lambda value: value.to(device, non_blocking=True))

    def pin_memory(self) -> Self:
        """Return the same batch in pinned memory, from which a GPU copies while it computes."""
        return self._each(Tensor.pin_memory)

    def record_stream(self, stream: torch.cuda.Stream) -> None:
        """Keep the tensors' memory from being reused by their own stream until the work so far of `stream` is done."""
        for tensor in self._tensors().values():
            tensor.record_stream(stream)

    def _each(self, move: Callable[[Tensor], Tensor]) -> Self:
        return type(self)(**{name: move(tensor) for name, tensor in self._tensors().items()})

    def _tensors(self) -> dict[str, Tensor]:
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}  # type: ignore[arg-type]


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
    """Expressions and poses that drive heads, before a camera."""

    expression: Float[Tensor, "batch num_coefficients"]
    head_to_camera: Float[Tensor, "batch 4 4"]
    intrinsics: Float[Tensor, "batch 3 3"]


@dataclass(frozen=True, slots=True, eq=False)
class TargetBatch(_Movable):
    """Ground truth for driven heads; landmarks in pixels, centres at +0.5."""

    image: Float[Tensor, "batch 3 height width"]
    head_mask: Float[Tensor, "batch 1 height width"]
    valid: Float[Tensor, "batch 1 height width"]
    landmarks_px: Float[Tensor, "batch num_landmarks 2"]


@dataclass(frozen=True, slots=True, eq=False)
class TrackBatch(_Movable):
    """Landmarks of frame pairs without their images, in head space, cm, and the expressions that go with them."""

    source_landmarks: Float[Tensor, "batch num_landmarks 3"]
    target_landmarks: Float[Tensor, "batch num_landmarks 3"]
    source_expression: Float[Tensor, "batch num_coefficients"]
    target_expression: Float[Tensor, "batch num_coefficients"]


@dataclass(frozen=True, slots=True, eq=False)
class PackedFrames(_Movable):
    """Frames as decoders leave them, a quarter of the bytes of floats; they become floats on the device."""

    image: UInt8[Tensor, "batch height width 3"]
    head_mask: Bool[Tensor, "batch height width"]
    valid: Bool[Tensor, "batch height width"]
    expression: Float[Tensor, "batch num_coefficients"]
    head_to_camera: Float[Tensor, "batch 4 4"]
    intrinsics: Float[Tensor, "batch 3 3"]

    def images(self) -> dict[str, Tensor]:
        """Return image and masks in floats, by their names."""
        return {
            "image": self.image.float().permute(0, 3, 1, 2) / 255.0,
            "head_mask": self.head_mask.float().unsqueeze(1),
            "valid": self.valid.float().unsqueeze(1),
        }

    def pose(self) -> dict[str, Tensor]:
        """Return expression and camera of the driver in floats, by name."""
        names = ("expression", "head_to_camera", "intrinsics")
        return {name: getattr(self, name).float() for name in names}

    def driver(self) -> DriverBatch:
        """Return expressions and poses of these frames, to drive heads."""
        return DriverBatch(**self.pose())


@dataclass(frozen=True, slots=True, eq=False)
class PackedTargets(PackedFrames):
    """Frames that driven heads should look like."""

    landmarks_px: Float[Tensor, "batch num_landmarks 2"]

    def target(self) -> TargetBatch:
        """Return these frames as ground truth."""
        return TargetBatch(**self.images(), landmarks_px=self.landmarks_px.float())


@dataclass(frozen=True, slots=True, eq=False)
class PackedSources(PackedFrames):
    """Source frames, all of them as stored (integers) or all resampled (floats).

    Attributes:
        depth: in units of `depth_scale`, cm. normals: unit vectors n, or n / 2 + 1 / 2 as 8-bit colours; 0 = none.
    """

    landmarks: Float[Tensor, "batch num_landmarks 3"]
    depth: Shaped[Tensor, "batch height width"]
    depth_scale: Float[Tensor, " batch"]
    normals: Shaped[Tensor, "batch height width 3"]

    def source(self) -> SourceBatch:
        """Return the source frames in floats."""
        normals = self.normals.float()
        if self.normals.dtype == torch.uint8:
            known = (self.normals > 0).any(dim=-1, keepdim=True)
            normals = functional.normalize(normals * (2 / 255) - 1, dim=-1) * known
        return SourceBatch(
            **self.images(),
            **self.pose(),
            depth=(self.depth.float() * self.depth_scale[:, None, None]).unsqueeze(1),
            normals=normals.permute(0, 3, 1, 2),
            landmarks=self.landmarks.float(),
        )


def pack_targets(frames: Sequence[HeadFrame]) -> PackedTargets:
    """Return frames of one size, drivers and ground truth in one, as one packed batch on the CPU."""
    return PackedTargets(**_stacked(frames, *_FRAME, "landmarks_px"))


def pack_sources(sources: Sequence[SourceFrame | QuantizedSource]) -> PackedSources:
    """Return source frames of one size, all of them resampled or all as stored, as one packed batch on the CPU."""
    stored = [source for source in sources if isinstance(source, QuantizedSource)]
    resampled = [source for source in sources if isinstance(source, SourceFrame)]
    scales = [source.depth_scale for source in stored] or [1.0] * len(resampled)
    return PackedSources(
        **_stacked([source.frame for source in sources], *_FRAME, "landmarks"),
        depth=_stack([source.depth_units for source in stored] or [source.depth for source in resampled]),
        depth_scale=torch.tensor(scales),
        normals=_stack([source.normal_colors for source in stored] or [source.normals for source in resampled]),
    )


def collate_sources(sources: Sequence[SourceFrame | QuantizedSource]) -> SourceBatch:
    """Return source frames of one size as a batch; all of them resampled, or all as stored."""
    return pack_sources(sources).source()


def collate_drivers(frames: Sequence[HeadFrame]) -> DriverBatch:
    """Return expressions and poses of these frames, to drive heads."""
    return pack_targets(frames).driver()


def collate_targets(frames: Sequence[HeadFrame]) -> TargetBatch:
    """Return these frames as ground truth."""
    return pack_targets(frames).target()


_FRAME = tuple(entry.name for entry in fields(PackedFrames))


def _stacked(frames: Sequence[HeadFrame], *names: str) -> dict[str, Tensor]:
    return {name: _stack([getattr(frame, name) for frame in frames]) for name in names}


def _stack(arrays: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))
