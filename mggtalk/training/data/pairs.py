"""Selects the (source, target) frames of each step as a function of seed and number alone, the same in any worker."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch

from mggtalk.errors import StageError
from mggtalk.models.batches import TrackBatch
from mggtalk.records import HeadFrame, QuantizedSource, SourceFrame, Split
from mggtalk.shards.clips import ClipEntry
from mggtalk.shards.reader import Shards
from mggtalk.training.data.shuffle import hashed, permuted


@dataclass(frozen=True, slots=True)
class FramePair:
    """Two frames of one clip, by their number within it; the source frame has geometry."""

    clip_id: str
    source_frame: int
    target_frame: int


class PairSampler:
    """Numbers pairs without end: each epoch has every frame of every clip once as target, in its own order.

    The source is a random frame of the same clip that has geometry. Clips without such frames are left out. A batch
    that reaches the end of an epoch goes on with the next one, so no batch is short and no worker has more steps than
    another.

    Raises:
        StageError: there are no clips with geometry.
    """

    def __init__(self, clips: Sequence[ClipEntry], seed: int, stream: int = 0) -> None:
        """Lay out an epoch.

        Args:
            stream: gives pairs of the same seed another order.
        """
        usable = [clip for clip in clips if clip.source_frames]
        if not usable:
            raise StageError(f"no clips to draw pairs from: the split has {len(clips)} clips, none with source frames")
        self._clips = tuple(sorted(usable, key=lambda clip: clip.clip_id))
        self._ends = list(accumulate(clip.num_frames for clip in self._clips))
        self._key = (seed, stream)

    @property
    def epoch_size(self) -> int:
        """Number of pairs in an epoch."""
        return self._ends[-1]

    def pair(self, number: int, replacement: int = 0) -> FramePair:
        """Return pair `number` of the run.

        Args:
            replacement: n gives the pair n positions later in the same epoch, in place of one that cannot be read.
        """
        epoch, position = divmod(number, self.epoch_size)
        index = permuted((position + replacement) % self.epoch_size, self.epoch_size, *self._key, epoch)
        clip_index = bisect_right(self._ends, index)
        clip = self._clips[clip_index]
        source = clip.source_frames[hashed(*self._key, epoch, index) % len(clip.source_frames)]
        return FramePair(clip.clip_id, source, index - (self._ends[clip_index] - clip.num_frames))


def rank_slice(step: int, batch_size: int, rank: int, world_size: int) -> range:
    """Return the pair numbers of one rank in one step: an equal, contiguous slice of the batch.

    Pairs are numbered through the run, so batches hold the same pairs for any number of ranks.

    Raises:
        ValueError: the batch cannot be split evenly.
    """
    if batch_size % world_size:
        raise ValueError(f"batch_size: got {batch_size}, expected a multiple of {world_size} workers")
    size = batch_size // world_size
    first = step * batch_size + rank * size
    return range(first, first + size)


@dataclass(frozen=True, slots=True, eq=False)
class PairTracks:
    """Head-space landmarks (cm) and expressions of a pair; arrays of two frames, source first."""

    landmarks: np.ndarray
    expression: np.ndarray


class PairReader:
    """Reads pairs of one split from the shards, at the resolution of the model.

    Attributes:
        seed: of both samplers.
        sampler: of the pairs that are read with images. track_sampler: of those whose tracks alone are read.
    """

    def __init__(self, shards: Shards, split: Split, size: int, seed: int) -> None:
        self._shards = shards
        self._size = size
        self.seed = seed
        self.sampler = PairSampler(shards.clips(split), seed)
        self.track_sampler = PairSampler(shards.clips(split), seed, stream=1)

    def read(self, pair: FramePair) -> tuple[SourceFrame | QuantizedSource, HeadFrame]:
        """Read source and target; at the stored size the source stays quantized.

        Raises:
            ShardError: a sample is damaged.
        """
        if self._size == self._shards.meta(pair.clip_id, pair.source_frame).size:
            source: SourceFrame | QuantizedSource = self._shards.quantized_source(pair.clip_id, pair.source_frame)
        else:
            source = self._shards.source_frame(pair.clip_id, pair.source_frame, self._size)
        return source, self._shards.head_frame(pair.clip_id, pair.target_frame, self._size)

    def read_tracks(self, pair: FramePair) -> PairTracks:
        """Read the landmarks and expressions of the pair, without its images.

        Raises:
            ShardError: a sample is damaged.
        """
        source, source_frame = self._shards.sample_tracks(pair.clip_id, pair.source_frame)
        target, target_frame = self._shards.sample_tracks(pair.clip_id, pair.target_frame)
        return PairTracks(
            np.stack([source.landmarks[source_frame], target.landmarks[target_frame]]),
            np.stack([source.expression[source_frame], target.expression[target_frame]]),
        )


def collate_tracks(pairs: Sequence[PairTracks]) -> TrackBatch:
    """Stack the tracks of pairs into a batch."""
    landmarks = torch.from_numpy(np.stack([pair.landmarks for pair in pairs]))
    expression = torch.from_numpy(np.stack([pair.expression for pair in pairs]))
    return TrackBatch(landmarks[:, 0], landmarks[:, 1], expression[:, 0], expression[:, 1])
