import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mggtalk.runtime.metrics_logger import metrics_logger
from mggtalk.training.images import LoggedImage


def log(directory: Path, steps: dict[int, float], *, resume: bool) -> None:
    with metrics_logger(directory, resume=resume) as report:
        for step, value in steps.items():
            report(step, {"loss/total": value, "val/pairs": red(value)})


def red(value: float) -> LoggedImage:
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[..., 0] = round(value * 255)
    return LoggedImage(pixels)


def images_of(directory: Path) -> dict[str, Any]:
    """Return how red each picture is that lies in the folder."""
    shown = {}
    for path in sorted((directory / "plots/images").rglob("*.*")):
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        assert pixels is not None
        assert pixels.shape == (16, 32, 3)
        assert pixels[..., 1:].max() < 10
        shown[str(path.relative_to(directory / "plots/images"))] = pytest.approx(pixels[..., 0].mean() / 255, abs=0.02)
    return shown


@pytest.fixture(params=[True, False], ids=["dvclive", "json lines"])
def rows_of(request, monkeypatch):
    """Return the logged (step, value) pairs of a folder, by either logger."""
    if request.param:

        def read(directory: Path) -> list[tuple[int, float]]:
            header, *rows = (directory / "plots/metrics/loss/total.tsv").read_text().splitlines()
            assert header == "step\ttotal"
            return [(int(step), float(value)) for step, value in (row.split("\t") for row in rows)]

    else:
        monkeypatch.setattr("mggtalk.runtime.metrics_logger.find_spec", lambda _: None)

        def read(directory: Path) -> list[tuple[int, float]]:
            lines = map(json.loads, (directory / "metrics.jsonl").read_text().splitlines())
            return [(line["step"], line["loss/total"]) for line in lines]

    return read


def test_a_resumed_run_replaces_the_steps_it_repeats(tmp_path, rows_of):
    log(tmp_path / "live", {10: 1.0, 20: 0.5, 30: 0.4}, resume=False)
    log(tmp_path / "live", {20: 0.6, 30: 0.3}, resume=True)
    assert rows_of(tmp_path / "live") == [(10, 1.0), (20, 0.6), (30, 0.3)]
    assert images_of(tmp_path / "live") == {
        "val/pairs/000010.jpg": 1.0,
        "val/pairs/000020.jpg": 0.6,
        "val/pairs/000030.jpg": 0.3,
    }


def test_a_run_that_starts_over_keeps_no_picture_of_steps_to_come(tmp_path, rows_of):
    log(tmp_path / "live", {9: 0.9, 20: 0.5, 1_000_000: 0.4}, resume=False)
    log(tmp_path / "live", {10: 0.6}, resume=True)
    assert rows_of(tmp_path / "live") == [(9, 0.9), (10, 0.6)]
    assert images_of(tmp_path / "live") == {"val/pairs/000009.jpg": 0.9, "val/pairs/000010.jpg": 0.6}


def test_the_same_reports_give_the_same_bytes_and_none_an_empty_folder(tmp_path, rows_of):
    folders = [tmp_path / name / "plots/images" for name in ("first", "second")]
    for name in ("first", "second"):
        log(tmp_path / name, {10: 1.0, 20: 0.5}, resume=False)
    first, second = ([path.read_bytes() for path in sorted(folder.rglob("*.jpg"))] for folder in folders)
    assert len(first) == 2
    assert first == second
    log(tmp_path / "first", {}, resume=False)
    assert list(folders[0].iterdir()) == []


def test_a_fresh_run_leaves_nothing_of_the_one_before(tmp_path, rows_of):
    log(tmp_path / "live", {1: 0.9, 10: 1.0}, resume=False)
    log(tmp_path / "live", {5: 0.2}, resume=False)
    assert rows_of(tmp_path / "live") == [(5, 0.2)]
    assert list(images_of(tmp_path / "live")) == ["val/pairs/000005.jpg"]


def test_the_summary_holds_the_last_values(tmp_path):
    log(tmp_path, {10: 1.0, 20: 0.5}, resume=False)
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"loss": {"total": 0.5}, "step": 20}
