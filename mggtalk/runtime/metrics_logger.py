"""Writes the metrics of a training run: through DVCLive, or as JSON lines on hosts that do not have it."""

import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from mggtalk.files import METRICS_LINES, atomic_write
from mggtalk.training.loop import Report

_logger = logging.getLogger(__name__)

_TABLES = Path("plots", "metrics")


@contextmanager
def metrics_logger(directory: Path, *, resume: bool) -> Iterator[Report]:
    """Give a function that logs metrics of a step: `plots/metrics/NAME.tsv` and `metrics.json` of DVCLive.

    Args:
        directory: of this run's metrics and nothing else.
        resume: keep what is there. A run that goes on after a crash repeats the steps since its checkpoint; what was
            logged of these before goes when the first of them is reported. Else all that is there goes.
    """
    if not resume:
        shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True, exist_ok=True)
    if find_spec("dvclive"):
        with _dvclive(directory) as log:
            yield log
    else:
        path = directory / METRICS_LINES
        _logger.info("train: DVCLive is not installed; metrics go to %s as JSON lines", path)
        yield _json_lines(path)


def has_metrics(directory: Path) -> bool:
    """Tell whether a run has logged metrics of any step in `directory`."""
    tables = (directory / _TABLES).rglob("*.tsv")
    return any(path.is_file() for path in (*tables, directory / METRICS_LINES))


@contextmanager
def _dvclive(directory: Path) -> Iterator[Report]:
    from dvclive.live import Live  # noqa: PLC0415  may not be there, and takes a second

    tables = directory / _TABLES
    first = True
    # DVC itself records the run: the stage's outputs and metrics. So no experiment, no report, no dvc.yaml of its own.
    with Live(str(directory), resume=True, report=None, save_dvc_exp=False, dvcyaml=None) as live:

        def log(step: int, metrics: Mapping[str, float]) -> None:
            nonlocal first
            if first:
                for table in tables.rglob("*.tsv"):
                    header, *rows = table.read_text().splitlines(keepends=True)
                    _rewrite(table, [header, *(row for row in rows if int(row.split("\t", 1)[0]) < step)])
            first = False
            live.step = step
            for name, value in metrics.items():
                live.log_metric(name, value)
            live.make_summary()

        yield log


def _json_lines(path: Path) -> Report:
    first = True

    def log(step: int, metrics: Mapping[str, float]) -> None:
        nonlocal first
        if first and path.exists():
            lines = path.read_text().splitlines(keepends=True)
            _rewrite(path, [line for line in lines if json.loads(line)["step"] < step])
        first = False
        with path.open("a") as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")

    return log


def _rewrite(path: Path, lines: list[str]) -> None:
    atomic_write(path, "".join(lines).encode())
