"""Packs frame pairs into batches on the host, and copies them to the GPU ahead of the step that needs them."""

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
    """A packed batch on the host: frame pairs of one size, and the tracks of further pairs."""

    sources: PackedSources
    targets: PackedTargets
    tracks: TrackBatch

    @classmethod
    def of(
        cls, sources: Sequence[SourceFrame | QuantizedSource], targets: Sequence[HeadFrame], tracks: TrackBatch
    ) -> "HostBatch":
        """Pack frames into a batch; the sources are either all as stored, or all resampled."""
        return cls(pack_sources(sources), pack_targets(targets), tracks)

    def send(self, stream: torch.cuda.Stream) -> "PrefetchedBatch":
        """Start copying the batch to the GPU on `stream`, while the GPU works on other streams."""
        pinned = HostBatch(self.sources.pin_memory(), self.targets.pin_memory(), self.tracks.pin_memory())
        with torch.cuda.stream(stream):
            sent = pinned.to(stream.device)
        return PrefetchedBatch(sent, stream.record_event())

    def to(self, device: torch.device) -> "HostBatch":
        """Return the batch on `device`; a copy from pinned memory does not wait."""
        return HostBatch(self.sources.to(device), self.targets.to(device), self.tracks.to(device))

    def unpack(self, device: torch.device) -> Batch:
        """Return the batch on `device`, converted to floats."""
        moved = self.to(device)
        return moved.sources.source(), moved.targets.driver(), moved.targets.target(), moved.tracks


@dataclass(frozen=True, slots=True, eq=False)
class PrefetchedBatch:
    """A batch whose copy to a GPU was started, with the event that marks the end of the copy."""

    batch: HostBatch
    arrival: torch.cuda.Event

    def unpack(self, device: torch.device) -> Batch:
        """Return the batch on `device`, converted to floats; the GPU waits for the copy, the host does not.

        Raises:
            ValueError: the batch was sent to another device.
        """
        own = self.batch.targets.image.device
        if device.type != own.type or device.index not in (None, own.index):
            raise ValueError(f"the batch was sent to {own}, got {device}")
        current = torch.cuda.current_stream(own)
        current.wait_event(self.arrival)
        for part in (self.batch.sources, self.batch.targets, self.batch.tracks):
            part.record_stream(current)  # else the copying stream could reuse the memory too soon
        return self.batch.unpack(own)
