"""Loads batches in the order of the steps, decoded ahead by threads, from any step on.

Threads suffice because OpenCV decodes without the interpreter's lock, and they hand over batches without a copy.
torch's `DataLoader` and torchdata's stateful one keep a state per worker process, so a run could not resume with
another number of workers; here the state is the number of the next step.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch

from mggtalk.errors import ShardError, StageError
from mggtalk.models.batches import TrackBatch
from mggtalk.shards.corrupt_samples import CorruptSamplePolicy, OnCorruptSample
from mggtalk.training.data.host_batch import HostBatch, PrefetchedBatch
from mggtalk.training.data.pairs import FramePair, PairReader, PairSampler, PairTracks, collate_tracks, rank_slice

ReadT = TypeVar("ReadT")

_CPU = torch.device("cpu")
_TRACK_READERS = 8
"""Threads that read tracks before the first step; with remote shards they mostly wait."""
_MAX_REPLACEMENTS = 100
"""Damaged pairs in a row that end a run; with half of the pairs intact, chance does so once in 2^100."""


@dataclass(frozen=True, slots=True)
class LoaderConfig:
    """Settings of a run's loader.

    Attributes:
        steps: of the whole run. batch_size, track_pairs: pairs of a step over all ranks, with images and without.
        threads: decode ahead, one batch each; 0 decodes a batch when it is requested.
        device: of the steps; batches for a GPU are copied ahead, while it works.
        on_corrupt_sample: `stop` raises at the step of the damaged sample; `skip` takes the next pair of the epoch.
    """

    steps: int
    batch_size: int
    track_pairs: int
    threads: int
    on_corrupt_sample: OnCorruptSample
    device: torch.device = _CPU


@dataclass(frozen=True, slots=True, eq=False)
class LoadedBatch:
    """One rank's slice of a step; `replaced` counts its pairs that stand in for damaged ones."""

    step: int
    batch: HostBatch | PrefetchedBatch
    replaced: int


class PairLoader:
    """Iterates over the batches of one rank, with the `state_dict` interface of torchdata's stateful loaders.

    Every rank has the same number of steps, all with full batches. Beyond the current batch, at most one per thread is
    decoded or in decoding.
    """

    def __init__(self, reader: PairReader, settings: LoaderConfig, rank: int, world_size: int) -> None:
        self._reader = reader
        self._settings = settings
        self.rank, self.world_size = rank, world_size
        self._corrupt_sample_policy = CorruptSamplePolicy(settings.on_corrupt_sample)
        self._copy_stream = torch.cuda.Stream(settings.device) if settings.device.type == "cuda" else None
        self._step = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the next step and the settings that fix its pairs; the same for any rank and number of threads."""
        return {"step": self._step, **self._order()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue at the step of `state`, which may come from another number of ranks or threads.

        Raises:
            StageError: `state` comes from other data, or another seed or batch size.
        """
        for name, expected in self._order().items():
            if state.get(name) != expected:
                raise StageError(f"loader state: {name}: got {state.get(name)}, expected {expected}")
        self._step = int(state["step"])

    def __iter__(self) -> Iterator[LoadedBatch]:
        """Yield the batches of the remaining steps; a batch counts as done once it is yielded.

        Raises:
            ShardError: a sample of the step is damaged.
        """
        _keep_freed_memory()
        pending: deque[Future[LoadedBatch]] = deque()
        steps = iter(range(self._step, self._settings.steps))
        with ThreadPoolExecutor(max(self._settings.threads, 1), "loader") as threads:
            try:
                while True:
                    ahead = islice(steps, self._settings.threads + 1 - len(pending))
                    pending.extend(threads.submit(self.load, step) for step in ahead)
                    if not pending:
                        return
                    loaded = pending.popleft().result()
                    self._step = loaded.step + 1
                    yield loaded
            finally:
                threads.shutdown(cancel_futures=True)

    def load(self, step: int) -> LoadedBatch:
        """Load this rank's slice of `step`.

        Raises:
            ShardError: a sample of the step is damaged.
        """
        reader, settings = self._reader, self._settings
        read = partial(self._read, reader.sampler, reader.read)
        pairs = [read(number) for number in self.rank_slice(step, settings.batch_size)]
        tracks = [self._read_tracks(number) for number in self.rank_slice(step, settings.track_pairs)]
        sources, targets = zip(*(pair for pair, _ in pairs), strict=True)
        batch = HostBatch.of(sources, targets, collate_tracks([track for track, _ in tracks]))
        sent = batch.send(self._copy_stream) if self._copy_stream else batch
        return LoadedBatch(step, sent, sum(replaced for _, replaced in [*pairs, *tracks]))

    def rank_slice(self, step: int, batch_size: int) -> range:
        """Return the pair numbers of this rank in one step."""
        return rank_slice(step, batch_size, self.rank, self.world_size)

    def load_tracks(self, most: int) -> TrackBatch:
        """Load the tracks of the run's first pairs, at most `most` and at most an epoch, the same for every rank.

        Damaged samples stop the run or are replaced, as in a step, but replacements are not counted.

        Raises:
            ShardError: as `load`.
        """
        numbers = range(min(most, self._reader.track_sampler.epoch_size))
        with ThreadPoolExecutor(_TRACK_READERS, "loader") as threads:
            return collate_tracks([track for track, _ in threads.map(self._read_tracks, numbers)])

    def _read_tracks(self, number: int) -> tuple[PairTracks, bool]:
        return self._read(self._reader.track_sampler, self._reader.read_tracks, number)

    def _read(self, sampler: PairSampler, read: Callable[[FramePair], ReadT], number: int) -> tuple[ReadT, bool]:
        """Read pair `number` or the next readable one of the epoch; the flag tells whether it was replaced."""
        attempts = min(_MAX_REPLACEMENTS, sampler.epoch_size)
        for replacement in range(attempts):
            found = self._corrupt_sample_policy.read(partial(read, sampler.pair(number, replacement)))
            if found is not None:
                return found, replacement > 0
        raise ShardError(f"{attempts} pairs in a row cannot be read, from pair {number} of the run on")

    def _order(self) -> dict[str, Any]:
        """Return the settings that fix the order of the pairs."""
        return {
            "seed": self._reader.seed,
            "epoch_size": self._reader.sampler.epoch_size,
            "batch_size": self._settings.batch_size,
            "track_pairs": self._settings.track_pairs,
        }


def _keep_freed_memory() -> None:
    """Make glibc keep up to 64 MB of freed memory for the next batch, which saves a page fault for every 4 kB.

    glibc does so once a block of 32 MB was freed; this one is never touched. Measured: a fifth of the loader's time.
    """
    np.empty((32 << 20) - (1 << 16), np.uint8)
