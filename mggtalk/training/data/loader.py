"""Batches in the order of the steps, decoded ahead by threads, from any step on.

Threads, for OpenCV decodes without the interpreter's lock and a batch changes hands without a copy. Neither torch's
`DataLoader` nor torchdata's stateful one serves: their state is one of each worker process, so a run could not go on
with another number of them, while here it is the number of the next step.
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
from mggtalk.training.data.pairs import FramePair, PairReader, PairSampler, PairTracks, collate_tracks, share

ReadT = TypeVar("ReadT")

_CPU = torch.device("cpu")
_TRACK_READERS = 8
"""Threads that read tracks before the first step; over a network they mostly wait."""
_MAX_REPLACEMENTS = 100
"""In a row, until a run that skips what is damaged gives up: chance does so once in 2^100 where half is sound."""


@dataclass(frozen=True, slots=True)
class LoaderConfig:
    """What a run asks of its loader.

    Attributes:
        steps: of the whole run. batch_size, track_pairs: pairs of a step over all ranks, with pictures and without.
        threads: that decode; 0 decodes a batch when it is asked for. Each has one batch ready, on `device`.
        device: on which batches are asked for; copies to a GPU run ahead, beside its work.
        on_corrupt_sample: `stop` raises at the step that a damaged sample belongs to; `skip` takes the next pair
            of the epoch.
    """

    steps: int
    batch_size: int
    track_pairs: int
    threads: int
    on_corrupt_sample: OnCorruptSample
    device: torch.device = _CPU


@dataclass(frozen=True, slots=True, eq=False)
class LoadedBatch:
    """One rank's share of a step; `replaced` of its pairs could not be read and are others."""

    step: int
    batch: HostBatch | PrefetchedBatch
    replaced: int


class PairLoader:
    """The batches of one rank; `state_dict` and `load_state_dict` as torchdata's stateful loaders have them.

    Every rank has the same number of steps, all of full batches. Ahead of the batch that is out, at most one for each
    thread is decoded or being decoded, or lies on the GPU.

    Attributes:
        place: rank and number of ranks.
    """

    def __init__(self, reader: PairReader, plan: LoaderConfig, rank: int, world_size: int) -> None:
        self._reader = reader
        self._plan = plan
        self.place = (rank, world_size)
        self._guard = CorruptSamplePolicy(plan.on_corrupt_sample)
        self._copies = torch.cuda.Stream(plan.device) if plan.device.type == "cuda" else None
        self._step = 0

    def state_dict(self) -> dict[str, Any]:
        """Return which step comes next, and what its pairs follow from; the same for every rank and any threads."""
        return {"step": self._step, **self._order()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on at the step of `state`, which may be of another number of ranks or threads.

        Raises:
            StageError: `state` is of other data, another seed or batch size.
        """
        for name, expected in self._order().items():
            if state.get(name) != expected:
                raise StageError(f"loader state: {name}: got {state.get(name)}, expected {expected}")
        self._step = int(state["step"])

    def __iter__(self) -> Iterator[LoadedBatch]:
        """Yield the batches of the steps that are left; a batch that is out counts as done.

        Raises:
            ShardError: a sample of the step is damaged.
        """
        _keep_freed_memory()
        pending: deque[Future[LoadedBatch]] = deque()
        steps = iter(range(self._step, self._plan.steps))
        with ThreadPoolExecutor(max(self._plan.threads, 1), "loader") as threads:
            try:
                while True:
                    ahead = islice(steps, self._plan.threads + 1 - len(pending))
                    pending.extend(threads.submit(self.load, step) for step in ahead)
                    if not pending:
                        return
                    loaded = pending.popleft().result()
                    self._step = loaded.step + 1
                    yield loaded
            finally:
                threads.shutdown(cancel_futures=True)

    def load(self, step: int) -> LoadedBatch:
        """Return this rank's share of `step`.

        Raises:
            ShardError: a sample of the step is damaged.
        """
        reader, plan = self._reader, self._plan
        read = partial(self._read, reader.sampler, reader.read)
        pairs = [read(number) for number in share(step, plan.batch_size, *self.place)]
        tracks = [self._read_tracks(number) for number in share(step, plan.track_pairs, *self.place)]
        sources, targets = zip(*(pair for pair, _ in pairs), strict=True)
        batch = HostBatch.of(sources, targets, collate_tracks([track for track, _ in tracks]))
        sent = batch.send(self._copies) if self._copies else batch
        return LoadedBatch(step, sent, sum(replaced for _, replaced in [*pairs, *tracks]))

    def load_tracks(self, most: int) -> TrackBatch:
        """Return the tracks of the run's first pairs, at most `most` and an epoch, the same for every rank.

        Those of damaged samples are replaced as in a step where the plan skips them, but counted nowhere.

        Raises:
            ShardError: as `load`.
        """
        numbers = range(min(most, self._reader.track_sampler.epoch_size))
        with ThreadPoolExecutor(_TRACK_READERS, "loader") as threads:
            return collate_tracks([track for track, _ in threads.map(self._read_tracks, numbers)])

    def _read_tracks(self, number: int) -> tuple[PairTracks, bool]:
        return self._read(self._reader.track_sampler, self._reader.read_tracks, number)

    def _read(self, sampler: PairSampler, read: Callable[[FramePair], ReadT], number: int) -> tuple[ReadT, bool]:
        """Return pair `number`, or the first after it in the epoch that can be read, and whether it is such a one."""
        attempts = min(_MAX_REPLACEMENTS, sampler.epoch_size)
        for replacement in range(attempts):
            found = self._guard.read(partial(read, sampler.pair(number, replacement)))
            if found is not None:
                return found, replacement > 0
        raise ShardError(f"{attempts} pairs in a row cannot be read, from pair {number} of the run on")

    def _order(self) -> dict[str, Any]:
        """Return what the order follows from."""
        return {
            "seed": self._reader.seed,
            "epoch_size": self._reader.sampler.epoch_size,
            "batch_size": self._plan.batch_size,
            "track_pairs": self._plan.track_pairs,
        }


def _keep_freed_memory() -> None:
    """Let glibc keep up to 64 MB that a batch gave back for the next one, instead of a page fault for every 4 kB.

    It does so once a block of 32 MB has been freed; this one is never touched. Measured: a fifth of the loader's time.
    """
    np.empty((32 << 20) - (1 << 16), np.uint8)
