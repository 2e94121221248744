"""Puts pairs of the validation on one image, small enough to be logged beside the metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

PANEL_PX = 128
"""The largest side of a panel; smaller images keep their size."""

NUM_ROWS = 4
"""Pairs on a sheet: with panels of 128 px a JPEG of tens of kilobytes."""


@dataclass(frozen=True, slots=True, eq=False)
class LoggedImage:
    """An image among the metrics of a step."""

    pixels: UInt8[np.ndarray, "height width 3"]


Reported = float | LoggedImage
"""A value that a step may report under a name."""


def scalar_metrics(metrics: Mapping[str, Reported]) -> dict[str, float]:
    """Return the metrics that are scalars."""
    return {name: value for name, value in metrics.items() if not isinstance(value, LoggedImage)}


def image_metrics(metrics: Mapping[str, Reported]) -> dict[str, LoggedImage]:
    """Return the metrics that are images."""
    return {name: value for name, value in metrics.items() if isinstance(value, LoggedImage)}


def row(panels: Sequence[Float[Tensor, "1 3 height width"]]) -> Float[Tensor, "1 3 panel_height row_width"]:
    """Place images side by side, each shrunk by area averaging to at most `PANEL_PX`."""
    size = min(PANEL_PX, panels[0].shape[-1])
    return torch.cat([functional.interpolate(panel, (size, size), mode="area") for panel in panels], dim=3)


def sheet(rows: Sequence[Float[Tensor, "1 3 panel_height row_width"]]) -> LoggedImage:
    """Stack rows of one width; values are clamped to [0, 1]."""
    image = torch.cat(tuple(rows), dim=2)[0].permute(1, 2, 0).clamp(0, 1)
    return LoggedImage((image * 255).round().to(torch.uint8).cpu().numpy())
