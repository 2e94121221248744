"""Times the training loader against what it is built on and against others: `python -m benchmarks.loader SHARDS`.

Two tasks, each on the very same members of the same shards, read and decoded on one core, rounds in turns:
`pairs`, a shuffled (source, target) order as training takes it, and `pass`, every frame once as it lies there. The
limit of both is a bare loop that knows every member's place beforehand: `pread` and `cv2.imdecode`, nothing else.
`cores` lets threads and processes use all cores; its limit still has one, and processor time leaves out processes.
litdata takes part where it can be imported; it has to be installed apart (`pip install --target FOLDER litdata`, the
folder on PYTHONPATH), for its boto3 does not go with dvc-s3's. Its copy of the samples is made before and not timed.
Each figure is of a process of its own, so that the peak of its memory is its own.
"""

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

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
ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class Task:
    """What one process does: `contestant` once over `pairs` pairs or over all frames."""

    contestant: str
    root: Path
    copy: Path
    pairs: int


@dataclass(frozen=True)
class Figures:
    """Of one process; memory in MB."""

    items: int
    wall_s: float
    cpu_s: float
    before_mb: float
    peak_mb: float


def decode(kind: str, data: bytes) -> np.ndarray:
    """Decode a member, and no more."""
    return cv2.imdecode(np.frombuffer(data, np.uint8), FLAGS[kind])


def pairs_of(task: Task) -> list[FramePair]:
    """Return the pairs of the first steps."""
    sampler = PairSampler(Shards(task.root).clips(Split.TRAIN), SEED)
    return [sampler.pair(number) for number in range(task.pairs)]


def frames_of(clips: tuple[ClipEntry, ...]) -> list[tuple[Frame, tuple[str, ...]]]:
    """Return all frames, and which members of each are decoded."""
    return [
        ((clip.clip_id, frame), SOURCE if frame in clip.source_frames else HEAD)
        for clip in clips
        for frame in range(clip.num_frames)
    ]


def bare(root: Path, frames: list[tuple[Frame, tuple[str, ...]]]) -> Iterator[Any]:
    """Read and decode members at known places."""
    places, files = {}, {}
    for row in iterate_rows(read_index(root)):
        files[row.shard] = os.open(root / row.shard, os.O_RDONLY)
        for name, offset, size in zip(row.member_names, row.member_offsets, row.member_sizes, strict=True):
            number, _, kind = name.partition(".")
            if kind in FLAGS:
                places[row.clip_id, row.start_frame + int(number), kind] = (files[row.shard], size, offset)
    wanted = [[(kind, places[(*frame, kind)]) for kind in kinds] for frame, kinds in frames]
    yield
    for members in wanted:
        yield [decode(kind, os.pread(*place)) for kind, place in members]


def bare_pairs(task: Task) -> Iterator[Any]:
    """The limit of `pairs`; an item is a frame."""
    frames: list[tuple[Frame, tuple[str, ...]]] = []
    for pair in pairs_of(task):
        frames += [((pair.clip_id, pair.source_frame), SOURCE), ((pair.clip_id, pair.target_frame), HEAD)]
    yield from bare(task.root, frames)


def bare_pass(task: Task) -> Iterator[Any]:
    """The limit of `pass`."""
    yield from bare(task.root, frames_of(Shards(task.root).clips(Split.TRAIN)))


def make_loader(task: Task, threads: int, cached_tracks: int = 64) -> PairLoader:
    """Return the training loader, at the stored size."""
    shards = Shards(task.root, cached_tracks=cached_tracks)
    size = shards.meta(shards.clips(Split.TRAIN)[0].clip_id).size
    reader = PairReader(shards, Split.TRAIN, size, SEED)
    settings = LoaderConfig(task.pairs // BATCH, BATCH, 2 * BATCH, threads, OnCorruptSample.STOP)
    return PairLoader(reader, settings, rank=0, world_size=1)


def loader(threads: int, *, floats: bool = False, cached_tracks: int = 64) -> Callable[[Task], Iterator[Any]]:
    """Return the training loader, up to decoded batches, or as floats on the CPU."""

    def run(task: Task) -> Iterator[Any]:
        batches = make_loader(task, threads, cached_tracks)
        yield
        for loaded in batches:
            yield loaded.batch.unpack(torch.device("cpu")) if floats else loaded.batch

    return run


class Steps(torch.utils.data.Dataset[list[torch.Tensor]]):
    """The same batches for torch's loader; as tensors, for these it hands over in shared memory."""

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
    """Return torch's loader with worker processes."""

    def run(task: Task) -> Iterator[Any]:
        steps = Steps(make_loader(task, threads=0), task.pairs // BATCH)
        yield
        yield from torch.utils.data.DataLoader(steps, batch_size=None, num_workers=count)

    return run


def on_all_cores(contestant: Callable[[Task], Iterator[Any]]) -> Callable[[Task], Iterator[Any]]:
    """Return `contestant`, free to use every core."""

    def run(task: Task) -> Iterator[Any]:
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
        yield from contestant(task)

    return run


def reader_pass(task: Task) -> Iterator[Any]:
    """Our reader from frame to frame."""
    shards = Shards(task.root)
    frames = frames_of(shards.clips(Split.TRAIN))
    yield
    for frame, kinds in frames:
        yield shards.stored_source(*frame) if kinds is SOURCE else shards.head_frame(*frame)


def webdataset_pass(task: Task) -> Iterator[Any]:
    """Plain webdataset; an item is a sample of up to 64 frames."""
    paths = sorted(str(path) for path in task.root.glob("train/*.tar"))
    samples = webdataset.WebDataset(paths, shardshuffle=False)
    yield
    for sample in samples:
        members = ((name.partition(".")[2], data) for name, data in sample.items())
        yield [decode(kind, data) for kind, data in members if kind in FLAGS]


def litdata_frames(task: Task) -> Any:
    """Open litdata's copy."""
    import litdata  # noqa: PLC0415  optional

    return litdata.StreamingDataset(str(task.copy), shuffle=False)


def litdata_pass(task: Task) -> Iterator[Any]:
    """Litdata in its own order."""
    frames = litdata_frames(task)
    yield
    for frame in frames:
        yield [decode(kind, data) for kind, data in frame.items() if data]


def litdata_pairs(task: Task) -> Iterator[Any]:
    """Litdata at random."""
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


def measure(task: Task) -> Figures:
    """Run one contestant in this process."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    items = CONTESTANTS[task.contestant](task)
    next(items)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    wall, cpu = time.perf_counter(), time.process_time()
    count = sum(1 for _ in items)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Figures(count, wall, cpu, before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def apart(function: Callable[..., ResultT], *args: Any) -> ResultT:
    """Call `function` in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as process:
        return process.submit(function, *args).result()


def main() -> None:
    """Print a line for each contestant: medians over the rounds, and the ratio to the bare loop of its task."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shards", type=Path)
    parser.add_argument("--pairs", type=int, default=960)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="contestants whose names hold this, and the bare loops")
    args = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    names = [name for name in CONTESTANTS if "litdata" not in name or find_spec("litdata")]
    names = [name for name in names if args.only in name or "bare" in name]
    results: dict[str, list[Figures]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "litdata"
        if find_spec("litdata"):
            apart(copy_for_litdata, args.shards, copy)
        for _ in range(args.rounds):
            for name in names:
                results[name].append(apart(measure, Task(name, args.shards, copy, args.pairs)))
    for name, rounds in results.items():
        limit = results[f"{name.split(':')[0]}: bare"]
        ratios = [statistics.median(getattr(b, kind) / getattr(r, kind) for b, r in zip(limit, rounds, strict=True))
                  for kind in ("wall_s", "cpu_s")]  # fmt: skip
        wall, cpu = (statistics.median(getattr(figures, kind) for figures in rounds) for kind in ("wall_s", "cpu_s"))
        peak, before = max(figures.peak_mb for figures in rounds), min(figures.before_mb for figures in rounds)
        print(
            f"{name:44} {wall:6.2f} s, processor {cpu:6.2f} s; ratio {ratios[0]:.3f}, of processor time "
            f"{ratios[1]:.3f}; peak {peak:4.0f} MB, {before:.0f} before the first item"
        )


if __name__ == "__main__":
    main()
