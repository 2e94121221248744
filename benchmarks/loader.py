"""Times the training loader against a bare loop and against other loaders: `python -m benchmarks.loader SHARDS`.

Two tasks read and decode the same members of the same shards on one core, in rounds: `pairs`, a shuffled
(source, target) order as in training, and `pass`, every frame once in stored order. The limit of both is a bare loop
that knows every member's offset beforehand: `pread` and `cv2.imdecode`, nothing else. `cores` lets threads and
processes use all cores; its limit still uses one, and processor time leaves out child processes. litdata takes part if
it can be imported; install it apart (`pip install --target FOLDER litdata`, the folder on PYTHONPATH), because its
boto3 conflicts with that of dvc-s3. Its copy of the samples is not timed. Each figure has a process of its own, so that
peaks of memory are separate.
"""

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import cv2
import torch

from benchmarks.loader_contestants import CONTESTANTS, Task, copy_for_litdata

ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class Figures:
    """Figures of one process; memory in MB."""

    items: int
    wall_s: float
    cpu_s: float
    before_mb: float
    peak_mb: float


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
    """Print for each contestant the medians over the rounds and the ratio to the bare loop of its task."""
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
