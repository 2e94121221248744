"""Batches as decoders leave them: a quarter of the bytes to hold and to move; they become floats on the device."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8
from torch import Tensor
from torch.nn import functional

from mggtalk.models.batches import DriverBatch, SourceBatch, TargetBatch, TrackBatch
from mggtalk.records import HeadFrame, SourceFrame
from mggtalk.shards.reader import StoredSource

Batch = tuple[SourceBatch, DriverBatch, TargetBatch, TrackBatch]


@dataclass(frozen=True, slots=True, eq=False)
class PackedHeads:
    """Frames of one size; see `records.HeadFrame`."""

    image: UInt8[Tensor, "batch size size 3"]
    head_mask: Bool[Tensor, "batch size size"]
    valid: Bool[Tensor, "batch size size"]
    expression: Float32[Tensor, "batch num_coefficients"]
    head_to_camera: Float32[Tensor, "batch 4 4"]
    intrinsics: Float32[Tensor, "batch 3 3"]

    @classmethod
    def of(cls, frames: Sequence[HeadFrame]) -> Self:
        """Stack frames."""
        return cls(**{entry.name: _stack([getattr(frame, entry.name) for frame in frames]) for entry in fields(cls)})


@dataclass(frozen=True, slots=True, eq=False)
class PackedBatch:
    """Frame pairs, and the tracks of others.

    Attributes:
        depth: times `depth_scale` in cm; integers at the stored size.
        normals: unit vectors, or at the stored size their colours (`StoredSource`).
    """

    sources: PackedHeads
    depth: Tensor
    depth_scale: Float32[Tensor, " batch"]
    normals: Tensor
    targets: PackedHeads
    tracks: TrackBatch

    @classmethod
    def of(cls, pairs: Sequence[tuple[SourceFrame | StoredSource, HeadFrame]], tracks: TrackBatch) -> Self:
        """Stack pairs; their sources are all resampled or all as stored."""
        sources = [source for source, _ in pairs]
        geometry = [_geometry(source) for source in sources]
        depths, scales, normals = zip(*geometry, strict=True)
        return cls(
            PackedHeads.of([source.frame for source in sources]),
            _stack(depths),
            torch.tensor(scales, dtype=torch.float32),
            _stack(normals),
            PackedHeads.of([target for _, target in pairs]),
            tracks,
        )

    def unpack(self, device: torch.device) -> Batch:
        """Return the batch on `device` in floats."""
        sources, targets = _floats(self.sources, device), _floats(self.targets, device)
        drives = {name: targets[name] for name in ("expression", "head_to_camera", "intrinsics")}
        shows = {name: targets[name] for name in ("image", "head_mask", "valid")}
        depth = self.depth.to(device).float() * self.depth_scale.to(device)[:, None, None]
        normals = _unit_normals(self.normals.to(device)).permute(0, 3, 1, 2)
        source = SourceBatch(**sources, depth=depth.unsqueeze(1), normals=normals)
        return source, DriverBatch(**drives), TargetBatch(**shows), self.tracks.to(device)


def _geometry(source: SourceFrame | StoredSource) -> tuple[np.ndarray, float, np.ndarray]:
    if isinstance(source, StoredSource):
        return source.depth_units, source.depth_scale, source.normal_colors
    return source.depth, 1.0, source.normals


def _floats(heads: PackedHeads, device: torch.device) -> dict[str, Tensor]:
    return {
        "image": heads.image.to(device).permute(0, 3, 1, 2).float() / 255.0,
        "head_mask": heads.head_mask.to(device).unsqueeze(1).float(),
        "valid": heads.valid.to(device).unsqueeze(1).float(),
        "expression": heads.expression.to(device),
        "head_to_camera": heads.head_to_camera.to(device),
        "intrinsics": heads.intrinsics.to(device),
    }


def _unit_normals(normals: Tensor) -> Tensor:
    """Return unit normals of what `shards.images.encode_normals` stores; floats already are."""
    if normals.is_floating_point():
        return normals
    known = (normals > 0).any(dim=-1, keepdim=True)
    return functional.normalize(normals.float() * (2 / 255) - 1, dim=-1) * known


def _stack(arrays: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))
