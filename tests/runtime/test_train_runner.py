"""Training on two real gloo workers of Ray Train, and in this process."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from mggtalk.errors import StageError
from mggtalk.runtime.failures import StageBugError
from mggtalk.runtime.train_runner import Launcher, run_training
from tests.runtime.toy_training import sum_of_ranks


def run(payload: str, storage: Path, num_workers: int = 2, **options: Any) -> list[tuple[int, Mapping[str, float]]]:
    reports: list[tuple[int, Mapping[str, float]]] = []
    run_training(
        sum_of_ranks,
        payload,
        num_workers=num_workers,
        use_gpu=options.pop("use_gpu", False),
        storage=storage,
        on_report=lambda step, metrics: reports.append((step, metrics)),
        **options,
    )
    return reports


@pytest.mark.usefixtures("local_ray")
def test_two_workers_compute_together_and_their_reports_come_here(tmp_path):
    assert run("", tmp_path) == [(1, {"total": 3.0, "world_size": 2, "threads": 1})]


@pytest.mark.usefixtures("local_ray")
def test_what_the_listener_to_reports_raises_is_raised_here(tmp_path):
    def on_report(step: int, metrics: Mapping[str, float]) -> None:
        raise OSError(f"no space left at step {step}")

    with pytest.raises(OSError, match="no space left at step 1"):
        run_training(sum_of_ranks, "", num_workers=1, use_gpu=False, storage=tmp_path, on_report=on_report)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize(
    ("payload", "error", "message"),
    [
        ("bug", StageBugError, r"on worker 1: ZeroDivisionError: one over none"),
        ("exit", StageError, r"worker \[1\] died"),
    ],
)
def test_what_fails_on_a_worker_is_raised_here(tmp_path, payload, error, message):
    with pytest.raises(error, match=message):
        run(payload, tmp_path)


@pytest.mark.usefixtures("local_ray")
def test_more_workers_than_gpus_is_an_error_of_the_user(tmp_path):
    with pytest.raises(StageError, match=r"workers: expected at most \d+ \(GPUs\), got 1000"):
        run("", tmp_path, 1000, use_gpu=True)


def test_the_local_launcher_is_one_worker_in_this_process(tmp_path, monkeypatch):
    launcher: Launcher = "local"
    threads = torch.get_num_threads()
    monkeypatch.setenv("MGGTALK_WORKERS", "1")
    try:
        assert run("", tmp_path, 1, launcher=launcher) == [(1, {"total": 1.0, "world_size": 1, "threads": 1})]
    finally:
        torch.set_num_threads(threads)
    with pytest.raises(StageError, match="one worker, got workers: 2"):
        run("", tmp_path, 2, launcher=launcher)
    with pytest.raises(ZeroDivisionError):
        run("bug", tmp_path, 1, launcher=launcher)
