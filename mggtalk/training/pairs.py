"""Which (source, target) frames make up which step: a function of seed and number alone, so any worker can tell."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from mggtalk.errors import StageError
from mggtalk.models.batches import TrackBatch
from mggtalk.records import HeadFrame, SourceFrame, Split
from mggtalk.shards.reader import ClipEntry, Shards

_CACHED_CLIPS = 64
"""Clips whose tracks are kept: 10 KB a frame, so 160 MB of clips of ten seconds."""


@dataclass(frozen=True, slots=True)
class FramePair:
    """Two frames of one clip, by their number within it; the source carries geometry."""

    clip_id: str
    source_frame: int
    target_frame: int


class PairSampler:
    """Draws pairs: clips by their length, then any source frame and any target frame of the clip.

    Clips of which no frame carries geometry are left out.

    Raises:
        StageError: the split has no clips with geometry.
    """

    def __init__(self, clips: Sequence[ClipEntry], seed: int) -> None:
        usable = [clip for clip in clips if clip.source_frames]
        if not usable:
            raise StageError(f"no clips to draw pairs from: the split has {len(clips)} clips, none with source frames")
        self._clips = tuple(sorted(usable, key=lambda clip: clip.clip_id))
        self._seed = seed
        lengths = np.array([clip.num_frames for clip in self._clips], dtype=np.float64)
        self._edges = np.cumsum(lengths / lengths.sum())

    def pair(self, number: int) -> FramePair:
        """Return pair `number` of the run."""
        generator = np.random.default_rng((self._seed, number))
        place = min(int(np.searchsorted(self._edges, generator.random(), side="right")), len(self._clips) - 1)
        clip = self._clips[place]
        source = clip.source_frames[int(generator.integers(len(clip.source_frames)))]
        return FramePair(clip.clip_id, source, int(generator.integers(clip.num_frames)))

    def share(self, step: int, batch_size: int, rank: int, world_size: int) -> list[FramePair]:
        """Return this worker's pairs of one step: an equal, contiguous share of the batch.

        Pairs are numbered through the run, so the batches of any number of workers hold the same pairs.
        """
        own = batch_size // world_size
        first = step * batch_size + rank * own
        return [self.pair(number) for number in range(first, first + own)]


class PairReader:
    """Reads pairs of one split from the shards, at the size that the model works at."""

    def __init__(self, shards: Shards, split: Split, size: int, seed: int) -> None:
        self._shards = shards
        self._tracks = lru_cache(maxsize=_CACHED_CLIPS)(shards.tracks)
        self._size = size
        self.sampler = PairSampler(shards.clips(split), seed)

    def read(self, pairs: Sequence[FramePair]) -> tuple[list[SourceFrame], list[HeadFrame]]:
        """Return sources and targets.

        Raises:
            ShardError: a sample is damaged.
        """
        sources = [self._shards.source_frame(pair.clip_id, pair.source_frame, self._size) for pair in pairs]
        targets = [self._shards.head_frame(pair.clip_id, pair.target_frame, self._size) for pair in pairs]
        return sources, targets

    def read_tracks(self, pairs: Sequence[FramePair]) -> TrackBatch:
        """Return the landmarks and expressions of the pairs, without their pictures.

        Raises:
            ShardError: a sample is damaged.
        """
        tracks = [self._tracks(pair.clip_id) for pair in pairs]
        ends = {"source": [pair.source_frame for pair in pairs], "target": [pair.target_frame for pair in pairs]}

        def stacked(name: str, end: str) -> Tensor:
            return torch.from_numpy(
                np.stack([getattr(track, name)[frame] for track, frame in zip(tracks, ends[end], strict=True)])
            )

        return TrackBatch(
            source_landmarks=stacked("landmarks", "source"),
            target_landmarks=stacked("landmarks", "target"),
            source_expression=stacked("expression", "source"),
            target_expression=stacked("expression", "target"),
        )
