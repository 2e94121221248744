"""Writes the report: one HTML page with its media beside it, readable from disk and without a network."""

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mggtalk.errors import StageError
from mggtalk.evaluation.metrics import METRICS
from mggtalk.evaluation.report.curves import CHART_HEIGHT, CHART_WIDTH, Curve
from mggtalk.evaluation.report.rejects import StageCounts
from mggtalk.evaluation.results import (
    CLOUD_IMAGE,
    COPY_SOURCE,
    DEPTH_IMAGE,
    DRIVER,
    INSPECTION_IMAGE,
    MESH_WARP,
    METHODS,
    MODEL,
    POSTER_IMAGE,
    SOURCE_IMAGE,
    ClipResult,
    image_name,
)
from mggtalk.evaluation.summary import clip_mean
from mggtalk.files import atomic_write

REPORT_FILE = "report.html"
MEDIA_DIRECTORY = "media"
TRAINING_IMAGE = "training.jpg"
METHOD_NAMES = {MODEL: "Model", COPY_SOURCE: "Copy source", MESH_WARP: "Landmark warp"}
EXAMPLES_PER_STAGE = 200


@dataclass(frozen=True, slots=True)
class MetricColumn:
    """Name, unit, precision and direction of one metric in the report."""

    key: str
    name: str
    unit: str
    decimals: int
    higher_is_better: bool


COLUMNS = (
    MetricColumn("psnr", "PSNR", "dB", 2, higher_is_better=True),
    MetricColumn("psnr_head", "PSNR head", "dB", 2, higher_is_better=True),
    MetricColumn("ssim", "SSIM", "", 3, higher_is_better=True),
    MetricColumn("ssim_head", "SSIM head", "", 3, higher_is_better=True),
    MetricColumn("csim", "CSIM", "", 3, higher_is_better=True),
    MetricColumn("csim_source", "CSIM to source", "", 3, higher_is_better=True),
    MetricColumn("aed", "AED", "", 4, higher_is_better=False),
    MetricColumn("apd", "APD", "deg", 2, higher_is_better=False),
    MetricColumn("akd", "AKD", "px", 2, higher_is_better=False),
)


@dataclass(frozen=True, slots=True, eq=False)
class ReportContent:
    """The content of a report.

    Attributes:
        summary: the content of `metrics.json`.
        stages: inputs, kept and rejected of each earlier stage.
        curves: training curves, empty if there are none. training_image: the last one of the training, a JPEG.
        parameters: parameters of the stages by group. versions: name of a package -> version.
    """

    title: str
    summary: Mapping[str, Any]
    results: Sequence[ClipResult]
    stages: Sequence[StageCounts] = ()
    curves: Sequence[Curve] = ()
    training_image: bytes | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure of a table; `is_best` marks the best of its column."""

    text: str
    is_best: bool


def write_report(directory: Path, content: ReportContent) -> Path:
    """Write `report.html` and `media/` into `directory`, replacing earlier media, and return the page's path.

    Raises:
        StageError: there is no clip to show.
    """
    if not content.results:
        raise StageError("evaluate: no test clip to report on; see the rejects of the stages before")
    results = sorted(content.results, key=lambda result: result.clip_id)
    media = directory / MEDIA_DIRECTORY
    shutil.rmtree(media, ignore_errors=True)
    for result in results:
        _write_media(media / result.clip_id, result)
    if content.training_image:
        (media / TRAINING_IMAGE).write_bytes(content.training_image)
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            title=content.title,
            style=(Path(__file__).with_name("templates") / "report.css").read_text("utf-8"),
            columns=COLUMNS,
            method_names=METHOD_NAMES,
            metric_names={column.key: column.name for column in COLUMNS},
            table=metric_table(content.summary["self"]),
            turned_table=metric_table(content.summary["self_large_turn"]),
            summary=content.summary,
            clips=[_clip_view(result, content.summary["protocol"]["large_turn"]["least_deg"]) for result in results],
            num_identities=len({result.identity for result in results}),
            stages=content.stages,
            examples_per_stage=EXAMPLES_PER_STAGE,
            curves=content.curves,
            training_image=f"{MEDIA_DIRECTORY}/{TRAINING_IMAGE}" if content.training_image else None,
            chart_size=(CHART_WIDTH, CHART_HEIGHT),
            parameters=content.parameters,
            versions=content.versions,
        )
    )
    path = directory / REPORT_FILE
    atomic_write(path, page.encode())
    return path


def metric_table(figures: Mapping[str, Mapping[str, float | None]]) -> dict[str, list[Cell]]:
    """Return method -> cells in the order of `COLUMNS`; figures that are equal as printed are all best."""
    rows: dict[str, list[Cell]] = {method: [] for method in METHODS}
    for column in COLUMNS:
        texts = {method: _number(figures[method][column.key], column.decimals) for method in METHODS}
        numbers = [float(text) for text in texts.values() if text]
        best = (max if column.higher_is_better else min)(numbers, default=math.nan)
        for method, text in texts.items():
            rows[method].append(Cell(text, bool(text) and float(text) == best))
    return rows


def _number(value: float | None, decimals: int) -> str:
    return "" if value is None else f"{value:.{decimals}f}"


def _write_media(directory: Path, result: ClipResult) -> None:
    directory.mkdir(parents=True)
    for name, data in result.images.items():
        (directory / name).write_bytes(data)
    (directory / "clip.mp4").write_bytes(result.video)


def _clip_view(result: ClipResult, large_turn_deg: float) -> dict[str, Any]:
    folder = f"{MEDIA_DIRECTORY}/{result.clip_id}"
    figures = {method: {metric: clip_mean(result.driven, method, metric) for metric in METRICS} for method in METHODS}
    shown = (DRIVER, MODEL, MESH_WARP)
    return {
        "clip_id": result.clip_id,
        "identity": result.identity,
        "source_frame": result.source_frame,
        "num_drivers": len(result.driven),
        "num_turned": len(result.large_turns(large_turn_deg)),
        "table": metric_table(figures),
        "video": f"{folder}/clip.mp4",
        "poster": f"{folder}/{POSTER_IMAGE}",
        "source": f"{folder}/{SOURCE_IMAGE}",
        "depth": f"{folder}/{DEPTH_IMAGE}",
        "cloud": f"{folder}/{CLOUD_IMAGE}",
        "inspection": f"{folder}/{INSPECTION_IMAGE}",
        "rows": [
            {"frame": frame, **{panel: f"{folder}/{image_name(frame, panel)}" for panel in shown}}
            for frame in result.shown_frames
        ],
    }


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
