"""Batches as decoders leave them: a quarter of the bytes to hold and to move; they become floats on the device."""

from dataclasses import dataclass

import torch

from mggtalk.models.batches import (
    DriverBatch,
    SourceBatch,
    TargetBatch,
    TrackBatch,
    collate_drivers,
    collate_sources,
    collate_targets,
)
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
        return (
            collate_sources(self.sources, device),
            collate_drivers(self.targets, device),
            collate_targets(self.targets, device),
            self.tracks.to(device),
        )
