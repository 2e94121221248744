"""Batches of frame pairs as loaders hand them over: packed, and pinned where they go to a GPU."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mggtalk.models.batches import (
    DriverBatch,
    PackedSources,
    PackedTargets,
    SourceBatch,
    TargetBatch,
    TrackBatch,
    pack_sources,
    pack_targets,
)
from mggtalk.records import HeadFrame, SourceFrame, StoredSource

Batch = tuple[SourceBatch, DriverBatch, TargetBatch, TrackBatch]


@dataclass(frozen=True, slots=True, eq=False)
class PackedBatch:
    """Frame pairs of one size, and the tracks of others."""

    sources: PackedSources
    targets: PackedTargets
    tracks: TrackBatch

    @classmethod
    def of(
        cls, sources: Sequence[SourceFrame | StoredSource], targets: Sequence[HeadFrame], tracks: TrackBatch
    ) -> "PackedBatch":
        """Return these frames as a batch; all sources are as stored, or all resampled."""
        return cls(pack_sources(sources), pack_targets(targets), tracks)

    def pin_memory(self) -> "PackedBatch":
        """Return the batch in pinned memory, from where a GPU fetches it beside its work."""
        return PackedBatch(self.sources.pin_memory(), self.targets.pin_memory(), self.tracks.pin_memory())

    def unpack(self, device: torch.device) -> Batch:
        """Return the batch on `device` in floats."""
        targets = self.targets.to(device)
        return self.sources.to(device).source(), targets.driver(), targets.target(), self.tracks.to(device)
