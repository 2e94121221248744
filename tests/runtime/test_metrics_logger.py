import json
from pathlib import Path

import pytest

from mggtalk.runtime.metrics_logger import metrics_logger


def log(directory: Path, steps: dict[int, float], *, resume: bool) -> None:
    with metrics_logger(directory, resume=resume) as report:
        for step, value in steps.items():
            report(step, {"loss/total": value})


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


def test_a_fresh_run_leaves_nothing_of_the_one_before(tmp_path, rows_of):
    log(tmp_path / "live", {1: 9.0, 10: 1.0}, resume=False)
    log(tmp_path / "live", {5: 2.0}, resume=False)
    assert rows_of(tmp_path / "live") == [(5, 2.0)]


def test_the_summary_holds_the_last_values(tmp_path):
    log(tmp_path, {10: 1.0, 20: 0.5}, resume=False)
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"loss": {"total": 0.5}, "step": 20}
