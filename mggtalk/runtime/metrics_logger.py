"""Writes metrics and images of a training run through DVCLive, or in its layout on hosts without it."""

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from mggtalk.files import METRICS_LINES, atomic_write
from mggtalk.shards.codecs.images import encode_rgb
from mggtalk.training.images import Reported, image_metrics, scalar_metrics
from mggtalk.training.loop import Report

_logger = logging.getLogger(__name__)

_TABLES = Path("plots", "metrics")
_IMAGES = Path("plots", "images")  # DVCLive's folder of `NAME/STEP.jpg`
_QUALITY = 75  # the default of Pillow, which DVCLive writes with


@contextmanager
def metrics_logger(directory: Path, *, resume: bool) -> Iterator[Report]:
    """Yield a function that logs the metrics of a step to `plots/metrics/NAME.tsv` and `metrics.json` of DVCLive.

    Images become `plots/images/NAME/STEP.jpg`. That folder always exists, because DVC expects it.

    Args:
        directory: of this run's metrics alone.
        resume: keep the earlier metrics, else delete them. A run that resumes after a crash repeats the steps since its
            checkpoint; the first of them to be reported deletes what was logged from that step on.
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
    """Return whether a run has logged metrics in `directory`."""
    tables = (directory / _TABLES).rglob("*.tsv")
    return any(path.is_file() for path in (*tables, directory / METRICS_LINES))


@contextmanager
def _dvclive(directory: Path) -> Iterator[Report]:
    from dvclive.live import Live  # noqa: PLC0415  may not be there, and takes a second

    def forget_from(step: int) -> None:
        for table in (directory / _TABLES).rglob("*.tsv"):
            header, *rows = table.read_text().splitlines(keepends=True)
            _rewrite(table, [header, *(row for row in rows if int(row.split("\t", 1)[0]) < step)])
        _forget_images(directory, step)

    # DVC records the run by the stage's outputs and metrics, so DVCLive writes no experiment, report or dvc.yaml.
    with Live(str(directory), resume=True, report=None, save_dvc_exp=False, dvcyaml=None) as live:

        def write(step: int, metrics: Mapping[str, Reported]) -> None:
            live.step = step
            for name, value in scalar_metrics(metrics).items():
                live.log_metric(name, value)
            for name, image in image_metrics(metrics).items():
                live.log_image(_image_name(name, step), image.pixels)
            live.make_summary()

        yield _after_first(forget_from, write)


def _json_lines(path: Path) -> Report:
    def forget_from(step: int) -> None:
        if path.exists():
            lines = path.read_text().splitlines(keepends=True)
            _rewrite(path, [line for line in lines if json.loads(line)["step"] < step])
        _forget_images(path.parent, step)

    def write(step: int, metrics: Mapping[str, Reported]) -> None:
        for name, image in image_metrics(metrics).items():
            atomic_write(path.parent / _IMAGES / _image_name(name, step), encode_rgb(image.pixels, _QUALITY))
        with path.open("a") as file:
            file.write(json.dumps({"step": step, **scalar_metrics(metrics)}) + "\n")

    return _after_first(forget_from, write)


def _after_first(forget_from: Callable[[int], None], write: Report) -> Report:
    """Wrap `write` so that its first step deletes what was logged from that step on."""
    first = True

    def log(step: int, metrics: Mapping[str, Reported]) -> None:
        nonlocal first
        if first:
            forget_from(step)
        first = False
        write(step, metrics)

    return log


def _image_name(name: str, step: int) -> str:
    return f"{name}/{step:06}.jpg"


def _forget_images(directory: Path, step: int) -> None:
    for path in (directory / _IMAGES).rglob("*.jpg"):
        if int(path.stem) >= step:
            path.unlink()


def _rewrite(path: Path, lines: list[str]) -> None:
    atomic_write(path, "".join(lines).encode())
