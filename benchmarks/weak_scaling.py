"""Times training on one and on several GPUs: `python -m benchmarks.weak_scaling SHARDS [--workers 2] [--steps 60]`.

Runs three trainings in the same processes: one worker; several workers with as many pairs each (weak scaling: the
efficiency is their pace over the workers' number times the pace of one); several workers that split the batch of one,
whose losses must equal it up to rounding. Runs without Ray, because its start takes longer than the trainings. Paces
are medians without the first readings.
"""

import argparse
import dataclasses
import json
import logging
import statistics
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import distributed, multiprocessing

from mggtalk.params import load_group
from mggtalk.shards.reader import Shards
from mggtalk.training.config import TrainConfig
from mggtalk.training.loop import Worker, train

PARAMS = Path(__file__).parents[1] / "configs" / "256px.yaml"
WARM_UP = 2
"""Readings to leave out, in which algorithms are selected and memory is allocated."""


class Run(NamedTuple):
    """One training."""

    name: str
    workers: int
    batch_size: int


class Task(NamedTuple):
    """Settings of every process; results go to `output`."""

    shards: Path
    params: Path
    runs: tuple[Run, ...]
    steps: int
    log_every: int
    output: Path


def settings_of(task: Task, run: Run) -> TrainConfig:
    """Return the parameters without validation, with geometry learning in all of the few steps."""
    return dataclasses.replace(
        load_group(task.params, "train", TrainConfig),
        workers=run.workers,
        batch_size=run.batch_size,
        steps=task.steps,
        geometry_fraction=1.0,
        log_every=task.log_every,
        validation_pairs=0,
        checkpoint_every=task.steps,
    )


def trained(settings: TrainConfig, shards: Shards, worker: Worker) -> list[dict[str, Any]]:
    """Train and return the log."""
    logged: list[dict[str, Any]] = []
    train(settings, shards, worker, None, "", lambda step, metrics: logged.append({"step": step, **metrics}))
    return logged


def work(rank: int, task: Task) -> None:
    """Train the runs one by one as worker `rank`; ranks beyond a run's workers wait for it."""
    logging.disable(logging.WARNING)
    on_gpu, most = torch.cuda.is_available(), max(run.workers for run in task.runs)
    device = torch.device(f"cuda:{rank}" if on_gpu else "cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    meeting_point = f"file://{task.output}.meeting_point"
    distributed.init_process_group(
        "nccl" if on_gpu else "gloo",
        meeting_point,
        rank=rank,
        world_size=most,
        device_id=device if on_gpu else None,
    )
    shards, logged = Shards(task.shards), {}
    for run in task.runs:
        logged[run.name] = (
            trained(settings_of(task, run), shards, Worker(rank, run.workers, device)) if rank < run.workers else []
        )
        distributed.barrier()
    if rank == 0:
        task.output.write_text(json.dumps(logged))
    distributed.destroy_process_group()


def main() -> None:
    """Print the paces, then the losses side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards", type=Path)
    parser.add_argument("--params", type=Path, default=PARAMS)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, help="pairs of one worker; default: as in the parameters")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--log-every", type=int, default=5)
    options = parser.parse_args()
    if options.steps // options.log_every <= WARM_UP:
        parser.error(
            f"--steps: expected more than {WARM_UP} times --log-every {options.log_every}, got {options.steps}"
        )
    many, settings = options.workers, load_group(options.params, "train", TrainConfig)
    batch = settings.batch_size // settings.workers if options.batch is None else options.batch
    if batch < 1 or batch % many:
        parser.error(f"--batch: expected a multiple of --workers {many}, got {batch}")
    alone = Run("one worker", 1, batch)
    wide, shared = Run(f"{many} workers", many, many * batch), Run(f"{many} workers, same batch", many, batch)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "logged.json")
        task = Task(options.shards, options.params, (alone, wide, shared), options.steps, options.log_every, output)
        multiprocessing.spawn(work, (task,), many)
        logged = json.loads(output.read_text())
    pace = {run: statistics.median(entry["frames_per_s"] for entry in logged[run.name][WARM_UP:]) for run in task.runs}
    print("| run | pairs a step | pairs/s | efficiency |\n|---|---|---|---|")
    for run in task.runs:
        efficiency = pace[run] / (run.workers * pace[alone])
        print(f"| {run.name} | {run.batch_size} | {pace[run]:.0f} | {efficiency:.3f} |")
    print(f"\n| step | loss, {alone.name} | loss, {shared.name} | difference |\n|---|---|---|---|")
    for entries in zip(logged[alone.name], logged[shared.name], strict=True):
        one, several = (entry["loss/total"] for entry in entries)
        print(f"| {entries[0]['step']} | {one:.5f} | {several:.5f} | {several - one:+.1e} |")


if __name__ == "__main__":
    main()
