"""Batches as decoders leave them: a quarter of the bytes to hold and to move; they become floats on the device."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mggtalk.models.batches import DriverBatch, SourceBatch, TargetBatch, TrackBatch
from mggtalk.records import HeadFrame, SourceFrame, StoredSource

Batch = tuple[SourceBatch, DriverBatch, TargetBatch, TrackBatch]


@dataclass(frozen=True, slots=True, eq=False)
class PackedBatch:
    """Frame pairs of one size, and the tracks of others; all sources are as stored, or all resampled."""

    sources: tuple[SourceFrame | StoredSource, ...]
    targets: tuple[HeadFrame, ...]
    tracks: TrackBatch

    def unpack(self, device: torch.device) -> Batch:
        """Return the batch on `device` in floats."""
        sources, targets = _heads([source.frame for source in self.sources], device), _heads(self.targets, device)
        depth, normals = _geometry(self.sources, device)
        drives = {name: targets[name] for name in ("expression", "head_to_camera", "intrinsics")}
        shows = {name: targets[name] for name in ("image", "head_mask", "valid")}
        source = SourceBatch(**sources, depth=depth, normals=normals)
        return source, DriverBatch(**drives), TargetBatch(**shows), self.tracks.to(device)


def _heads(frames: Sequence[HeadFrame], device: torch.device) -> dict[str, Tensor]:
    def stacked(name: str) -> Tensor:
        return _stacked([getattr(frame, name) for frame in frames], device)

    return {
        "image": stacked("image").permute(0, 3, 1, 2).float() / 255.0,
        "head_mask": stacked("head_mask").unsqueeze(1).float(),
        "valid": stacked("valid").unsqueeze(1).float(),
        **{name: stacked(name) for name in ("expression", "head_to_camera", "intrinsics")},
    }


def _geometry(
    sources: Sequence[SourceFrame | StoredSource], device: torch.device
) -> tuple[Float[Tensor, "batch 1 size size"], Float[Tensor, "batch 3 size size"]]:
    """Return depth in cm and unit normals; from what `shards.images` stores, or as they are."""
    stored = [source for source in sources if isinstance(source, StoredSource)]
    resampled = [source for source in sources if isinstance(source, SourceFrame)]
    if stored:
        scale = torch.tensor([source.depth_scale for source in stored], dtype=torch.float32, device=device)
        depth = _stacked([source.depth_units for source in stored], device).float() * scale[:, None, None]
        colors = _stacked([source.normal_colors for source in stored], device)
        known = (colors > 0).any(dim=-1, keepdim=True)
        normals = functional.normalize(colors.float() * (2 / 255) - 1, dim=-1) * known
    else:
        depth = _stacked([source.depth for source in resampled], device)
        normals = _stacked([source.normals for source in resampled], device)
    return depth.unsqueeze(1), normals.permute(0, 3, 1, 2)


def _stacked(arrays: Sequence[np.ndarray], device: torch.device) -> Tensor:
    """Return arrays as one tensor, put together where it is needed: a batch on the CPU would be a copy more."""
    return torch.stack([torch.from_numpy(array).to(device) for array in arrays])
