"""Training on two real gloo workers of Ray Train, and in this process."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

from mggtalk.errors import StageError
from mggtalk.runtime.failures import StageBugError
from mggtalk.runtime.train_runner import Launcher, _Resources, _worker_environment, run_training
from mggtalk.training.images import Reported, image_metrics, scalar_metrics
from tests.integration.runtime.toy_training import sum_of_ranks


def run(
    payload: str, storage: Path, num_workers: int = 2, *, reports: list[tuple[int, dict[str, float]]], **options: Any
) -> None:

    def on_report(step: int, metrics: Mapping[str, Reported]) -> None:
        assert (image_metrics(metrics)["picture"].pixels == np.full((2, 3, 3), 7)).all()
        reports.append((step, scalar_metrics(metrics)))

    run_training(
        sum_of_ranks,
        payload,
        num_workers=num_workers,
        use_gpu=options.pop("use_gpu", False),
        storage=storage,
        on_report=on_report,
        **options,
    )


@pytest.mark.usefixtures("local_ray")
def test_two_workers_compute_together_until_one_raises_which_is_raised_here_and_not_tried_again(tmp_path, caplog):
    """One run for both, because every start of Ray Train loads torch eight times."""
    reports: list[tuple[int, dict[str, float]]] = []
    with pytest.raises(StageBugError, match=r"on worker 1: ZeroDivisionError: one over none"):
        run("bug", tmp_path, reports=reports)
    assert reports == [(1, {"total": 3.0, "world_size": 2, "threads": 1})]
    assert "started again" not in caplog.text


@pytest.mark.usefixtures("local_ray")
def test_what_dies_every_time_is_not_tried_for_ever_and_reports_once(tmp_path, caplog):
    reports: list[int] = []
    with pytest.raises(StageError, match=r"worker \[1\] died"):
        run_training(
            sum_of_ranks,
            "exit",
            num_workers=2,
            use_gpu=False,
            storage=tmp_path,
            on_report=lambda step, _: reports.append(step),
            max_restarts=1,
        )
    assert reports == [1]
    assert caplog.text.count("worker [1] died after step 1; all of them are started again") == 1


@pytest.mark.usefixtures("local_ray")
def test_more_workers_than_gpus_is_an_error_of_the_user(tmp_path):
    with pytest.raises(StageError, match=r"workers: expected at most \d+ \(GPUs\), got 1000"):
        run("", tmp_path, 1000, reports=[], use_gpu=True)


def test_the_local_launcher_is_one_worker_in_this_process(tmp_path, monkeypatch):
    launcher: Launcher = "local"
    reports: list[tuple[int, dict[str, float]]] = []
    threads = torch.get_num_threads()
    monkeypatch.setenv("MGGTALK_WORKERS", "1")
    try:
        run("", tmp_path, 1, reports=reports, launcher=launcher)
    finally:
        torch.set_num_threads(threads)
    assert reports == [(1, {"total": 1.0, "world_size": 1, "threads": 1})]
    with pytest.raises(StageError, match="one worker, got workers: 2"):
        run("", tmp_path, 2, reports=[], launcher=launcher)
    with pytest.raises(ZeroDivisionError):
        run("bug", tmp_path, 1, reports=[], launcher=launcher)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "expandable_segments:True"),
        ({"PYTORCH_ALLOC_CONF": "max_split_size_mb:64"}, "max_split_size_mb:64"),
        ({"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:64"}, None),
    ],
)
def test_segments_of_gpu_memory_grow_unless_the_environment_says_otherwise(tmp_path, given, expected):
    names, seen = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"), []
    others = {name: value for name, value in os.environ.items() if name not in names}
    with patch.dict(os.environ, {**others, **given}, clear=True):
        of_workers = _worker_environment(_Resources(2, 1.0, 1))
        run_training(
            lambda _, worker, __: seen.append((worker.device.type, os.environ.get("PYTORCH_ALLOC_CONF"))),
            None,
            num_workers=1,
            use_gpu=True,
            storage=tmp_path,
            on_report=lambda *_: None,
            launcher="local",
        )
    assert seen == [("cuda", expected)]
    assert of_workers == ({} if given else {"env_vars": {"PYTORCH_ALLOC_CONF": expected}})
    assert not _worker_environment(_Resources(2, 1.0, 0))


@pytest.mark.gpu
def test_torch_heeds_it_though_it_is_imported_before():
    script = """
import os
import torch
from mggtalk.runtime import train_runner
assert torch.cuda.is_available()
os.environ.update(train_runner.growing_segments())
torch.cuda.set_device(0)
torch.zeros(1, device="cuda")
assert all(segment["is_expandable"] for segment in torch.cuda.memory_snapshot())
"""
    subprocess.run([sys.executable, "-c", script], check=True)
