"""Training on two real gloo workers of Ray Train, and in this process."""

import os
import signal
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
from mggtalk.runtime.train_runner import Launcher, _Share, _worker_environment, run_training
from mggtalk.training.images import Reported, image_metrics, scalar_metrics
from tests.integration.runtime.toy_training import KILLABLE, KILLED_AT, KillableRun, sum_of_ranks, train_killable
from tests.support.synthetic_head import make_talking_clip, write_talking_shards
from tests.support.two_workers import TwoWorkerRun, load_weights, run_two_workers


def run(payload: str, storage: Path, num_workers: int = 2, **options: Any) -> list[tuple[int, dict[str, float]]]:
    reports: list[tuple[int, dict[str, float]]] = []

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
    return reports


@pytest.mark.usefixtures("local_ray")
def test_two_workers_compute_together_and_their_reports_come_here(tmp_path):
    assert run("", tmp_path) == [(1, {"total": 3.0, "world_size": 2, "threads": 1})]


@pytest.mark.long
@pytest.mark.usefixtures("local_ray")
def test_what_the_listener_to_reports_raises_is_raised_here(tmp_path):
    def on_report(step: int, metrics: Mapping[str, Reported]) -> None:
        raise OSError(f"no space left at step {step}")

    with pytest.raises(OSError, match="no space left at step 1"):
        run_training(sum_of_ranks, "", num_workers=1, use_gpu=False, storage=tmp_path, on_report=on_report)


@pytest.mark.usefixtures("local_ray")
def test_what_is_raised_on_a_worker_is_raised_here_and_not_tried_again(tmp_path, caplog):
    with pytest.raises(StageBugError, match=r"on worker 1: ZeroDivisionError: one over none"):
        run("bug", tmp_path)
    assert "started again" not in caplog.text


@pytest.mark.long
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
def test_a_killed_worker_costs_steps_but_changes_nothing(tmp_path):
    write_talking_shards(tmp_path / "shards", [make_talking_clip("00000000000000aa-f000000", num_frames=4)])
    whole, cut_off = tmp_path / "whole", tmp_path / "cut_off"
    whole.mkdir()
    cut_off.mkdir()
    run_two_workers([TwoWorkerRun(KILLABLE, tmp_path / "shards", whole)], tmp_path / "meeting_point")
    reports: list[int] = []

    def on_report(step: int, metrics: Mapping[str, Reported]) -> None:
        reports.append(step)
        if step == KILLED_AT:
            os.kill(int((cut_off / "pid.1").read_text()), signal.SIGKILL)
            (cut_off / "go").touch()

    payload = KillableRun(tmp_path / "shards", cut_off)
    run_training(train_killable, payload, num_workers=2, use_gpu=False, storage=tmp_path / "ray", on_report=on_report)
    assert reports == [1, 2, 3, 4, 5, 6]
    begun_at = (cut_off / "first_steps").read_text().split()
    assert begun_at == ["1", "3"]  # from the checkpoint after step 2, so step 3 was done twice
    for rank in range(2):
        expected, found = load_weights(whole, rank), load_weights(cut_off, rank)
        assert all(torch.equal(expected[name], found[name]) for name in expected)


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
        of_workers = _worker_environment(_Share(2, 1.0, 1))
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
    assert not _worker_environment(_Share(2, 1.0, 0))


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
