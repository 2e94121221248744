"""Reads training curves from DVCLive's TSV files or JSON lines as points of SVG charts, and the last image."""

import csv
import json
import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from mggtalk.errors import StageError
from mggtalk.files import METRICS_LINES

CHART_WIDTH, CHART_HEIGHT = 320.0, 120.0
MAX_POINTS = 400


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric over the steps of the training; values that are not finite are left out."""

    name: str
    steps: tuple[int, ...]
    values: tuple[float, ...]

    @property
    def svg_points(self) -> str:
        """The `points` of a polyline in a chart of `CHART_WIDTH` x `CHART_HEIGHT`, smallest value at the bottom."""
        low, high = min(self.values), max(self.values)
        first, last = self.steps[0], self.steps[-1]
        stride = max(1, math.ceil(len(self.steps) / MAX_POINTS))
        # The last point always shows, because readers look for it.
        chosen = [*range(0, len(self.steps) - 1, stride), len(self.steps) - 1]
        points = []
        for index in chosen:
            x = (self.steps[index] - first) / max(last - first, 1) * CHART_WIDTH
            y = CHART_HEIGHT - (self.values[index] - low) / ((high - low) or 1.0) * CHART_HEIGHT
            points.append(f"{x:.1f},{y:.1f}")
        return " ".join(points)


def read_curves(directory: Path) -> tuple[Curve, ...]:
    """Read the curves of a training, sorted by name; empty if there are none.

    Args:
        directory: with DVCLive's `plots/metrics/**/NAME.tsv`, or with JSON lines from a host without DVCLive.

    Raises:
        StageError: a file has another format.
    """
    root = directory / "plots" / "metrics"
    curves = [_read_curve(path, path.relative_to(root).with_suffix("").as_posix()) for path in root.rglob("*.tsv")]
    if not curves and (directory / METRICS_LINES).is_file():
        curves = _read_lines(directory / METRICS_LINES)
    return tuple(sorted((curve for curve in curves if curve.steps), key=lambda curve: curve.name))


def read_last_image(directory: Path) -> bytes | None:
    """Read the JPEG of the last validation in a DVCLive folder (`plots/images/val/pairs/STEP.jpg`), if any."""
    found = (directory / "plots" / "images" / "val" / "pairs").glob("*.jpg")
    last = max(found, key=lambda path: int(path.stem), default=None)
    return last.read_bytes() if last else None


def _read_curve(path: Path, name: str) -> Curve:
    steps, values = [], []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                value = float(row[path.stem])
                if math.isfinite(value):
                    steps.append(int(row["step"]))
                    values.append(value)
    except (OSError, KeyError, TypeError, ValueError) as cause:
        raise StageError(f"{path}: expected DVCLive's columns 'step' and {path.stem!r}: {cause!r}") from None
    return Curve(name, tuple(steps), tuple(values))


def _read_lines(path: Path) -> list[Curve]:
    points: dict[str, list[tuple[int, float]]] = defaultdict(list)
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            values = json.loads(line)
            step = int(values.pop("step"))
            for name, value in values.items():
                if math.isfinite(value):
                    points[name].append((step, float(value)))
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as cause:
        raise StageError(f"{path}: expected a JSON object with 'step' and numbers in each line: {cause!r}") from None
    return [Curve(name, *zip(*rows, strict=True)) for name, rows in points.items()]
