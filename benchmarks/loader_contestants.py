"""Reads and decodes the shards' members in the ways that `benchmarks.loader` compares."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import webdataset

from mggtalk.records import Split
from mggtalk.shards import ClipEntry, Shards, schema
from mggtalk.shards.corrupt_samples import OnCorruptSample
from mggtalk.shards.index import iterate_rows, read_index
from mggtalk.training.data.loader import LoaderConfig, PairLoader
from mggtalk.training.data.pairs import FramePair, PairReader, PairSampler

SEED, BATCH = 0, 8
FLAGS = {
    "rgb.jpg": cv2.IMREAD_COLOR,
    "head.png": cv2.IMREAD_GRAYSCALE,
    "depth.png": cv2.IMREAD_UNCHANGED,
    "normal.png": cv2.IMREAD_COLOR,
}
HEAD, SOURCE = ("rgb.jpg", "head.png"), tuple(FLAGS)
Frame = tuple[str, int]


@dataclass(frozen=True)
class Task:
    """Work of one process: `contestant` once over `pairs` pairs or over all frames."""

    contestant: str
    root: Path
    copy: Path
    pairs: int


def decode(kind: str, data: bytes) -> np.ndarray:
    """Decode a member."""
    return cv2.imdecode(np.frombuffer(data, np.uint8), FLAGS[kind])


def pairs_of(task: Task) -> list[FramePair]:
    """Return the pairs of the first steps."""
    sampler = PairSampler(Shards(task.root).clips(Split.TRAIN), SEED)
    return [sampler.pair(number) for number in range(task.pairs)]


def frames_of(clips: tuple[ClipEntry, ...]) -> list[tuple[Frame, tuple[str, ...]]]:
    """Return all frames with the members of each that are decoded."""
    return [
        ((clip.clip_id, frame), SOURCE if frame in clip.source_frames else HEAD)
        for clip in clips
        for frame in range(clip.num_frames)
    ]


def bare(root: Path, frames: list[tuple[Frame, tuple[str, ...]]]) -> Iterator[Any]:
    """Read and decode members at known offsets."""
    extents, files = {}, {}
    for row in iterate_rows(read_index(root)):
        files[row.shard] = os.open(root / row.shard, os.O_RDONLY)
        for name, offset, size in zip(row.member_names, row.member_offsets, row.member_sizes, strict=True):
            number, _, kind = name.partition(".")
            if kind in FLAGS:
                extents[row.clip_id, row.start_frame + int(number), kind] = (files[row.shard], size, offset)
    wanted = [[(kind, extents[(*frame, kind)]) for kind in kinds] for frame, kinds in frames]
    yield
    for members in wanted:
        yield [decode(kind, os.pread(*extent)) for kind, extent in members]


def bare_pairs(task: Task) -> Iterator[Any]:
    """Run the limit of `pairs`; an item is a frame."""
    frames: list[tuple[Frame, tuple[str, ...]]] = []
    for pair in pairs_of(task):
        frames += [((pair.clip_id, pair.source_frame), SOURCE), ((pair.clip_id, pair.target_frame), HEAD)]
    yield from bare(task.root, frames)


def bare_pass(task: Task) -> Iterator[Any]:
    """Run the limit of `pass`."""
    yield from bare(task.root, frames_of(Shards(task.root).clips(Split.TRAIN)))


def make_loader(task: Task, threads: int, cached_tracks: int = 64) -> PairLoader:
    """Return the training loader, at the stored size."""
    shards = Shards(task.root, cached_tracks=cached_tracks)
    size = shards.meta(shards.clips(Split.TRAIN)[0].clip_id).size
    reader = PairReader(shards, Split.TRAIN, size, SEED)
    settings = LoaderConfig(task.pairs // BATCH, BATCH, 2 * BATCH, threads, OnCorruptSample.STOP)
    return PairLoader(reader, settings, rank=0, world_size=1)


def loader(threads: int, *, floats: bool = False, cached_tracks: int = 64) -> Callable[[Task], Iterator[Any]]:
    """Return a contestant: the training loader, up to decoded batches or to floats on the CPU."""

    def run(task: Task) -> Iterator[Any]:
        batches = make_loader(task, threads, cached_tracks)
        yield
        for loaded in batches:
            yield loaded.batch.unpack(torch.device("cpu")) if floats else loaded.batch

    return run


class Steps(torch.utils.data.Dataset[list[torch.Tensor]]):
    """Gives torch's loader the same batches, as tensors, which it hands over in shared memory."""

    def __init__(self, batches: PairLoader, steps: int) -> None:
        self._batches, self._steps = batches, steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> list[torch.Tensor]:
        batch = self._batches.load(step).batch
        frames = [
            plane for part in (batch.targets, batch.sources) for plane in (part.image, part.head_mask, part.valid)
        ]
        return [*frames, batch.sources.depth, batch.sources.normals]


def processes(count: int) -> Callable[[Task], Iterator[Any]]:
    """Return a contestant: torch's loader with worker processes."""

    def run(task: Task) -> Iterator[Any]:
        steps = Steps(make_loader(task, threads=0), task.pairs // BATCH)
        yield
        yield from torch.utils.data.DataLoader(steps, batch_size=None, num_workers=count)

    return run


def on_all_cores(contestant: Callable[[Task], Iterator[Any]]) -> Callable[[Task], Iterator[Any]]:
    """Allow `contestant` to use every core."""

    def run(task: Task) -> Iterator[Any]:
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
        yield from contestant(task)

    return run


def reader_pass(task: Task) -> Iterator[Any]:
    """Read frame by frame with our reader."""
    shards = Shards(task.root)
    frames = frames_of(shards.clips(Split.TRAIN))
    yield
    for frame, kinds in frames:
        yield shards.quantized_source(*frame) if kinds is SOURCE else shards.head_frame(*frame)


def webdataset_pass(task: Task) -> Iterator[Any]:
    """Read with plain webdataset; an item is a sample of up to 64 frames."""
    paths = sorted(str(path) for path in task.root.glob("train/*.tar"))
    samples = webdataset.WebDataset(paths, shardshuffle=False)
    yield
    for sample in samples:
        members = ((name.partition(".")[2], data) for name, data in sample.items())
        yield [decode(kind, data) for kind, data in members if kind in FLAGS]


def litdata_frames(task: Task) -> Any:
    """Open litdata's copy of the frames."""
    import litdata  # noqa: PLC0415  optional

    return litdata.StreamingDataset(str(task.copy), shuffle=False)


def litdata_pass(task: Task) -> Iterator[Any]:
    """Read with litdata in its own order."""
    frames = litdata_frames(task)
    yield
    for frame in frames:
        yield [decode(kind, data) for kind, data in frame.items() if data]


def litdata_pairs(task: Task) -> Iterator[Any]:
    """Read with litdata at random."""
    frames = litdata_frames(task)
    numbers = {frame: number for number, (frame, _) in enumerate(frames_of(Shards(task.root).clips(Split.TRAIN)))}
    pairs = pairs_of(task)
    yield
    for pair in pairs:
        source = frames[numbers[pair.clip_id, pair.source_frame]]
        target = frames[numbers[pair.clip_id, pair.target_frame]]
        yield [decode(kind, data) for kind, data in source.items()] + [decode(kind, target[kind]) for kind in HEAD]


CONTESTANTS: dict[str, Callable[[Task], Iterator[Any]]] = {
    "pairs: bare": bare_pairs,
    "pairs: loader, 0 threads": loader(0),
    "pairs: loader, 1 thread": loader(1),
    "pairs: loader, 4 threads": loader(4),
    "pairs: loader, tracks never cached": loader(1, cached_tracks=1),
    "pairs: loader, floats on the CPU": loader(1, floats=True),
    "pairs: litdata": litdata_pairs,
    "pass: bare": bare_pass,
    "pass: reader": reader_pass,
    "pass: webdataset": webdataset_pass,
    "pass: litdata": litdata_pass,
    "cores: bare": bare_pairs,
    "cores: loader, 2 threads": on_all_cores(loader(2)),
    "cores: torch DataLoader, 2 processes": on_all_cores(processes(2)),
}


def copy_for_litdata(root: Path, copy: Path) -> None:
    """Write the frames' members in litdata's format."""
    from litdata.streaming.cache import Cache  # noqa: PLC0415  optional

    shards, cache = Shards(root), Cache(str(copy), chunk_bytes="64MB")
    for number, ((clip_id, frame), kinds) in enumerate(frames_of(shards.clips(Split.TRAIN))):
        prefix = f"{frame % schema.CHUNK_FRAMES:03d}"  # every item needs the same keys
        cache[number] = {kind: shards.member(clip_id, frame, f"{prefix}.{kind}") if kind in kinds else b""
                         for kind in SOURCE}  # fmt: skip
    cache.done()
    cache.merge()
