"""Runs two data-parallel workers in processes of their own, without Ray."""

import dataclasses
from pathlib import Path

import torch
from torch import distributed
from torch.multiprocessing.spawn import start_processes

from mggtalk.shards import Shards
from mggtalk.training.config import TrainConfig
from mggtalk.training.loop import Worker
from tests.unit.training.small import Reports, run, weights


@dataclasses.dataclass(frozen=True)
class TwoWorkerRun:
    """Parameters and folders of a run; each worker has its own checkpoint, because workers share no files."""

    settings: TrainConfig
    shards: Path
    results: Path
    checkpoints: tuple[Path, Path] | None = None


def run_two_workers(runs: list[TwoWorkerRun], meeting_point: Path) -> None:
    """Train one run after the other on two workers; each leaves `weights.RANK.pt` and `metrics.RANK.pt`."""
    context = start_processes(_work, (runs, meeting_point), nprocs=2, join=False, start_method="spawn")
    assert context is not None
    while not context.join(timeout=120):
        pass


def load_weights(results: Path, rank: int) -> dict[str, torch.Tensor]:
    """Load the final weights of worker `rank`."""
    loaded: dict[str, torch.Tensor] = torch.load(results / f"weights.{rank}.pt", weights_only=True)
    return loaded


def _work(rank: int, runs: list[TwoWorkerRun], meeting_point: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{meeting_point}", rank=rank, world_size=2)
    worker = Worker(rank, 2, torch.device("cpu"))
    for planned in runs:
        checkpoint = planned.checkpoints[rank] if planned.checkpoints else None
        reports = Reports()
        predictor = run(planned.settings, Shards(planned.shards), reports, checkpoint, worker=worker)
        torch.save(weights(predictor), planned.results / f"weights.{rank}.pt")
        torch.save(reports.metrics, planned.results / f"metrics.{rank}.pt")
    distributed.destroy_process_group()
