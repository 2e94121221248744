"""Tiny training functions for the tests of the runtime; worker processes import them by name."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import distributed

from mggtalk.shards import Shards
from mggtalk.training.images import LoggedImage, Reported
from mggtalk.training.loop import Report, Worker, train
from tests.unit.training.small import small_training, weights

KILLED_AT = 3
"""The step whose report is followed by the end of worker 1, once; checkpoints are made after every second step."""

KILLABLE = small_training(workers=2, steps=6, log_every=1, checkpoint_every=2)


@dataclass(frozen=True)
class KillableRun:
    """Where the data lie, and the folder where workers leave their process ids and weights."""

    shards: Path
    folder: Path


def sum_of_ranks(payload: str, worker: Worker, report: Report) -> None:
    """Add up something over all workers, and do on the last of them what the payload says."""
    total = torch.tensor([worker.rank + 1.0], device=worker.device)
    if worker.world_size > 1:
        distributed.all_reduce(total)
    if worker.rank == 0:
        counts = {"world_size": worker.world_size, "threads": torch.get_num_threads()}
        report(1, {"total": float(total), **counts, "picture": LoggedImage(np.full((2, 3, 3), 7, np.uint8))})
    if worker.rank == worker.world_size - 1:
        match payload:
            case "bug":
                raise ZeroDivisionError("one over none")
            case "exit":
                # Ray takes the end of a worker within milliseconds of its start for one of its own faults.
                time.sleep(1)
                os._exit(3)
    if worker.world_size > 1:
        distributed.barrier()


def train_killable(payload: KillableRun, worker: Worker, report: Report) -> None:
    """Train the real, small predictor; after the report of step `KILLED_AT` wait until the file `go` is there."""
    (payload.folder / f"pid.{worker.rank}").write_text(str(os.getpid()))
    started = False

    def report_and_wait(step: int, metrics: Mapping[str, Reported]) -> None:
        nonlocal started
        if not started:
            with (payload.folder / "first_steps").open("a") as file:
                file.write(f"{step}\n")
        started = True
        report(step, metrics)
        while step == KILLED_AT and not (payload.folder / "go").exists():
            time.sleep(0.01)

    predictor = train(KILLABLE, Shards(payload.shards), worker, payload.folder / "run.pt", "run", report_and_wait)
    torch.save(weights(predictor), payload.folder / f"weights.{worker.rank}.pt")
