"""Turns the results of all clips into `metrics.json` and the plots: means over frames, then over clips, six decimals.

All but `speed` is a function of the clips, the model and the protocol; `speed` depends on the machine and stands apart.
"""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from mggtalk.errors import StageError
from mggtalk.evaluation.metrics import METRICS
from mggtalk.evaluation.reenactment import EvaluateConfig
from mggtalk.evaluation.results import DRIVER, METHODS, ClipResult
from mggtalk.evaluation.speed import Speed
from mggtalk.files import atomic_write
from mggtalk.perception.identity import IdentityUnavailable
from mggtalk.shards.protocol import AVERAGE, DRIVERS, MASK, METRIC_DEFINITIONS, PROTOCOL_VERSION, SOURCE_FRAME

DECIMALS = 6
METRICS_FILE = "metrics.json"
FRAME_PLOT = "plots/psnr_head.csv"
METHOD_PLOT = "plots/methods.csv"


@dataclass(frozen=True, slots=True)
class Instruments:
    """What the clips were measured with: names, or why there is no identity encoder."""

    resolution: int
    measurer: str
    identity_encoder: str | IdentityUnavailable


def build_protocol(settings: EvaluateConfig, instruments: Instruments, results: Sequence[ClipResult]) -> dict[str, Any]:
    """Return all that makes two evaluations comparable; only runs under one protocol may be compared."""
    encoder = instruments.identity_encoder
    return {
        "version": PROTOCOL_VERSION,
        "resolution": instruments.resolution,
        "mask": MASK,
        "source_frame": SOURCE_FRAME,
        "frames": {
            "drivers": DRIVERS,
            "frame_step": settings.frame_step,
            "max_frames_per_clip": settings.max_frames_per_clip,
            "average": AVERAGE,
        },
        "measurer": instruments.measurer,
        "identity_encoder": None if isinstance(encoder, IdentityUnavailable) else encoder,
        "split": settings.split.value,
        "metrics": dict(METRIC_DEFINITIONS),
        "clips": sorted(result.clip_id for result in results),
    }


def summarise(
    settings: EvaluateConfig, instruments: Instruments, results: Sequence[ClipResult], speed: Speed
) -> dict[str, Any]:
    """Return the content of `metrics.json`.

    Raises:
        StageError: there is no result.
    """
    if not results:
        raise StageError(
            f"evaluate: no clip of split {settings.split.value!r} could be scored; see the rejects of the stages"
        )
    ordered = sorted(results, key=lambda result: result.clip_id)
    figures = {method: {metric: _mean_over_clips(ordered, method, metric) for metric in METRICS} for method in METHODS}
    missing = [metric for metric in METRICS if figures[METHODS[0]][metric] is None]
    return {
        "protocol": build_protocol(settings, instruments, ordered),
        "self": figures,
        "detection_rate": {name: _detection_rate(ordered, name) for name in (DRIVER, *METHODS)},
        "unavailable": {metric: _reason(metric, instruments) for metric in missing},
        "speed": asdict(speed),
    }


def clip_mean(result: ClipResult, method: str, metric: str) -> float | None:
    """Return the mean of a metric over the frames of a clip where every method has it; None where there is none."""
    columns = {name: [getattr(scores, metric) for scores in result.scores[name]] for name in METHODS}
    common = [
        index for index, values in enumerate(zip(*columns.values(), strict=True)) if all(map(math.isfinite, values))
    ]
    if not common:
        return None
    return math.fsum(columns[method][index] for index in common) / len(common)


def write_metrics(directory: Path, summary: Mapping[str, Any], results: Sequence[ClipResult]) -> None:
    """Write `metrics.json`, `plots/psnr_head.csv` (clip, frame, method) and `plots/methods.csv` (one row a method)."""
    text = json.dumps(summary, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    atomic_write(directory / METRICS_FILE, f"{text}\n".encode())
    frame_rows = [
        {"clip": result.clip_id, "frame": frame, "method": method, "psnr_head": round(scores.psnr_head, DECIMALS)}
        for result in sorted(results, key=lambda result: result.clip_id)
        for method in METHODS
        for frame, scores in zip(result.frames, result.scores[method], strict=True)
        if math.isfinite(scores.psnr_head)
    ]
    _write_csv(directory / FRAME_PLOT, ("clip", "frame", "method", "psnr_head"), frame_rows)
    method_rows = [{"method": method, **summary["self"][method]} for method in METHODS]
    _write_csv(directory / METHOD_PLOT, ("method", *METRICS), method_rows)


def _mean_over_clips(results: Sequence[ClipResult], method: str, metric: str) -> float | None:
    means = [mean for result in results if (mean := clip_mean(result, method, metric)) is not None]
    return round(math.fsum(means) / len(means), DECIMALS) if means else None


def _detection_rate(results: Sequence[ClipResult], name: str) -> float:
    found = [face for result in results for face in result.detected[name]]
    return round(sum(found) / len(found), DECIMALS)


def _reason(metric: str, instruments: Instruments) -> str:
    if metric == "csim" and isinstance(instruments.identity_encoder, IdentityUnavailable):
        return instruments.identity_encoder.reason
    if metric == "psnr_head":
        return "no frame has a pixel of the head inside the video frame"
    if metric in {"psnr", "ssim"}:
        return "no frame has a pixel inside the video frame"
    return "no frame in which a face was found in the driver and in the result of every method"


def _write_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    text = StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    atomic_write(path, text.getvalue().encode())
