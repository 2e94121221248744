"""Writes metrics and pictures of a training run: through DVCLive, or in its folders on hosts that do not have it."""

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from mggtalk.files import METRICS_LINES, atomic_write
from mggtalk.shards.codecs.images import encode_rgb
from mggtalk.training.images import Reported, numbers, pictures
from mggtalk.training.loop import Report

_logger = logging.getLogger(__name__)

_TABLES = Path("plots", "metrics")
_IMAGES = Path("plots", "images")  # DVCLive's; what lies there is `NAME/STEP.jpg`
_QUALITY = 75  # Pillow's, which DVCLive writes with


@contextmanager
def metrics_logger(directory: Path, *, resume: bool) -> Iterator[Report]:
    """Give a function that logs metrics of a step: `plots/metrics/NAME.tsv` and `metrics.json` of DVCLive.

    Pictures become `plots/images/NAME/STEP.jpg`. The folder is there even if none come, for DVC asks for it.

    Args:
        directory: of this run's metrics and nothing else.
        resume: keep what is there. A run that goes on after a crash repeats the steps since its checkpoint; what was
            logged of these before goes when the first of them is reported. Else all that is there goes.
    """
    if not resume:
        shutil.rmtree(directory, ignore_errors=True)
    (directory / _IMAGES).mkdir(parents=True, exist_ok=True)
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

    def forget_from(step: int) -> None:
        for table in (directory / _TABLES).rglob("*.tsv"):
            header, *rows = table.read_text().splitlines(keepends=True)
            _rewrite(table, [header, *(row for row in rows if int(row.split("\t", 1)[0]) < step)])
        _forget_pictures(directory, step)

    # DVC itself records the run: the stage's outputs and metrics. So no experiment, no report, no dvc.yaml of its own.
    with Live(str(directory), resume=True, report=None, save_dvc_exp=False, dvcyaml=None) as live:

        def write(step: int, metrics: Mapping[str, Reported]) -> None:
            live.step = step
            for name, value in numbers(metrics).items():
                live.log_metric(name, value)
            for name, picture in pictures(metrics).items():
                live.log_image(_picture_name(name, step), picture.pixels)
            live.make_summary()

        yield _after_first(forget_from, write)


def _json_lines(path: Path) -> Report:
    def forget_from(step: int) -> None:
        if path.exists():
            lines = path.read_text().splitlines(keepends=True)
            _rewrite(path, [line for line in lines if json.loads(line)["step"] < step])
        _forget_pictures(path.parent, step)

    def write(step: int, metrics: Mapping[str, Reported]) -> None:
        for name, picture in pictures(metrics).items():
            atomic_write(path.parent / _IMAGES / _picture_name(name, step), encode_rgb(picture.pixels, _QUALITY))
        with path.open("a") as file:
            file.write(json.dumps({"step": step, **numbers(metrics)}) + "\n")

    return _after_first(forget_from, write)


def _after_first(forget_from: Callable[[int], None], write: Report) -> Report:
    """Return `write`, before whose first step everything from that step on is forgotten."""
    first = True

    def log(step: int, metrics: Mapping[str, Reported]) -> None:
        nonlocal first
        if first:
            forget_from(step)
        first = False
        write(step, metrics)

    return log


def _picture_name(name: str, step: int) -> str:
    return f"{name}/{step:06}.jpg"


def _forget_pictures(directory: Path, step: int) -> None:
    for path in (directory / _IMAGES).rglob("*.jpg"):
        if int(path.stem) >= step:
            path.unlink()


def _rewrite(path: Path, lines: list[str]) -> None:
    atomic_write(path, "".join(lines).encode())
