"""Batches of frame pairs as loaders hand them over: packed, and on their way to the GPU where there is one."""

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
from mggtalk.records import HeadFrame, QuantizedSource, SourceFrame

Batch = tuple[SourceBatch, DriverBatch, TargetBatch, TrackBatch]


@dataclass(frozen=True, slots=True, eq=False)
class HostBatch:
    """Frame pairs of one size, and the tracks of others."""

    sources: PackedSources
    targets: PackedTargets
    tracks: TrackBatch

    @classmethod
    def of(
        cls, sources: Sequence[SourceFrame | QuantizedSource], targets: Sequence[HeadFrame], tracks: TrackBatch
    ) -> "HostBatch":
        """Return these frames as a batch; all sources are as stored, or all resampled."""
        return cls(pack_sources(sources), pack_targets(targets), tracks)

    def send(self, stream: torch.cuda.Stream) -> "PrefetchedBatch":
        """Start the batch's copy to the GPU of a stream, on which it goes beside what the GPU does on others."""
        pinned = HostBatch(self.sources.pin_memory(), self.targets.pin_memory(), self.tracks.pin_memory())
        with torch.cuda.stream(stream):
            sent = pinned.to(stream.device)
        return PrefetchedBatch(sent, stream.record_event())

    def to(self, device: torch.device) -> "HostBatch":
        """Return the batch on `device`; from pinned memory without waiting."""
        return HostBatch(self.sources.to(device), self.targets.to(device), self.tracks.to(device))

    def unpack(self, device: torch.device) -> Batch:
        """Return the batch on `device` in floats."""
        here = self.to(device)
        return here.sources.source(), here.targets.driver(), here.targets.target(), here.tracks


@dataclass(frozen=True, slots=True, eq=False)
class PrefetchedBatch:
    """A batch whose copy to a GPU was started, and what the copy's end is known by."""

    batch: HostBatch
    arrival: torch.cuda.Event

    def unpack(self, device: torch.device) -> Batch:
        """Return the batch in floats on `device`, where it was sent; the GPU waits for it, the host does not.

        Raises:
            ValueError: it was sent elsewhere.
        """
        here = self.batch.targets.image.device
        if device.type != here.type or device.index not in (None, here.index):
            raise ValueError(f"the batch was sent to {here}, got {device}")
        current = torch.cuda.current_stream(here)
        current.wait_event(self.arrival)
        for part in (self.batch.sources, self.batch.targets, self.batch.tracks):
            part.record_stream(current)  # lest the copies' stream has the memory back too soon
        return self.batch.unpack(here)
