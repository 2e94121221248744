"""Summarises the results of all clips in `metrics.json` and the plots: means over frames, then over clips.

`speed` depends on the machine; all other values depend on the clips, the model and the protocol alone.
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
from mggtalk.evaluation.config import EvaluateConfig
from mggtalk.evaluation.metrics import METRICS
from mggtalk.evaluation.results import DRIVER, METHODS, ClipResult, DrivenFrame
from mggtalk.evaluation.speed import Speed
from mggtalk.files import atomic_write
from mggtalk.perception.identity import IdentityUnavailable
from mggtalk.shards.protocol import AVERAGE, DRIVERS, MASK, METRIC_DEFINITIONS, PROTOCOL_VERSION, SOURCE_FRAME

DECIMALS = 6
METRICS_FILE = "metrics.json"
FRAME_PLOT = "plots/psnr_head.csv"
METHOD_PLOT = "plots/methods.csv"
TURN_PLOT = "plots/psnr_by_turn.csv"


@dataclass(frozen=True, slots=True)
class Instruments:
    """Names of the instruments of the evaluation, or the reason why there is no identity encoder."""

    resolution: int
    measurer: str
    identity_encoder: str | IdentityUnavailable


def build_protocol(settings: EvaluateConfig, instruments: Instruments, results: Sequence[ClipResult]) -> dict[str, Any]:
    """Describe the protocol; evaluations may be compared only if theirs are equal."""
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
        "large_turn": {
            "frames": "those whose head yaw differs from the source frame's by at least least_deg",
            "least_deg": settings.large_turn_deg,
            "sources": "the first source frame of the clip, and the first ones of sources_per_clip equal shares",
            "sources_per_clip": settings.sources_per_clip,
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
    """Build the content of `metrics.json`.

    Raises:
        StageError: there is no result.
    """
    if not results:
        raise StageError(
            f"evaluate: no clip of split {settings.split.value!r} could be scored; see the rejects of the stages"
        )
    ordered = sorted(results, key=lambda result: result.clip_id)
    every = [result.driven for result in ordered]
    turned = [driven for result in ordered if (driven := result.large_turns(settings.large_turn_deg))]
    figures = _figures(every)
    missing = [metric for metric in METRICS if figures[METHODS[0]][metric] is None]
    return {
        "protocol": build_protocol(settings, instruments, ordered),
        "self": figures,
        "self_large_turn": _figures(turned),
        "counted": {"self": _counts(every), "self_large_turn": _counts(turned)},
        "detection_rate": {name: _detection_rate(ordered, name) for name in (DRIVER, *METHODS)},
        "unavailable": {metric: _reason(metric, instruments) for metric in missing},
        "speed": asdict(speed),
    }


def clip_mean(driven: Sequence[DrivenFrame], method: str, metric: str) -> float | None:
    """Average a metric over the frames of a clip in which every method has it; None if there is none."""
    rows = [{name: getattr(frame.scores[name], metric) for name in METHODS} for frame in driven]
    common = [row[method] for row in rows if all(map(math.isfinite, row.values()))]
    return math.fsum(common) / len(common) if common else None


def write_metrics(directory: Path, summary: Mapping[str, Any], results: Sequence[ClipResult]) -> None:
    """Write `metrics.json` and the tables of the plots: by frame, by method and by turn."""
    text = json.dumps(summary, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    atomic_write(directory / METRICS_FILE, f"{text}\n".encode())
    ordered = sorted(results, key=lambda result: result.clip_id)
    by_frame = [row for result in ordered for row in _frame_rows(result.clip_id, result.driven)]
    _write_csv(directory / FRAME_PLOT, ("clip", "frame", "method", "psnr_head"), by_frame)
    far = [row for result in ordered for row in _frame_rows(result.clip_id, result.driven_far)]
    turn_columns = ("clip", "source", "frame", "method", "turn_deg", "psnr_head")
    _write_csv(directory / TURN_PLOT, turn_columns, by_frame + far)
    by_method = [{"method": method, **summary["self"][method]} for method in METHODS]
    _write_csv(directory / METHOD_PLOT, ("method", *METRICS), by_method)


def _frame_rows(clip_id: str, driven: Sequence[DrivenFrame]) -> list[dict[str, Any]]:
    return [
        {
            "clip": clip_id,
            "source": frame.source_frame,
            "frame": frame.frame,
            "method": method,
            "turn_deg": round(frame.turn_deg, DECIMALS),
            "psnr_head": round(frame.scores[method].psnr_head, DECIMALS),
        }
        for method in METHODS
        for frame in driven
        if math.isfinite(frame.scores[method].psnr_head)
    ]


def _figures(clips: Sequence[Sequence[DrivenFrame]]) -> dict[str, dict[str, float | None]]:
    return {method: {metric: _mean_over_clips(clips, method, metric) for metric in METRICS} for method in METHODS}


def _counts(clips: Sequence[Sequence[DrivenFrame]]) -> dict[str, int]:
    return {"clips": len(clips), "frames": sum(map(len, clips))}


def _mean_over_clips(clips: Sequence[Sequence[DrivenFrame]], method: str, metric: str) -> float | None:
    means = [mean for driven in clips if (mean := clip_mean(driven, method, metric)) is not None]
    return round(math.fsum(means) / len(means), DECIMALS) if means else None


def _detection_rate(results: Sequence[ClipResult], name: str) -> float:
    found = [driven.detected[name] for result in results for driven in result.driven]
    return round(sum(found) / len(found), DECIMALS)


def _reason(metric: str, instruments: Instruments) -> str:
    if metric in {"csim", "csim_source"} and isinstance(instruments.identity_encoder, IdentityUnavailable):
        return instruments.identity_encoder.reason
    if metric in {"psnr_head", "ssim_head"}:
        return "no frame has a pixel of the head inside the video frame"
    if metric in {"psnr", "ssim"}:
        return "no frame has a pixel inside the video frame"
    return "no frame in which a face was found in the driver and in the result of every method"


def _write_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    text = StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    atomic_write(path, text.getvalue().encode())
