"""What a training shows of itself: pairs of the validation as one picture, small enough to go beside the metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

PANEL_PX = 128
"""The largest side of a panel; smaller pictures are shown as they are."""

NUM_ROWS = 4
"""Pairs on a sheet: with panels of 128 px that is a JPEG of tens of kilobytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture among the metrics of a step."""

    pixels: UInt8[np.ndarray, "height width 3"]


Reported = float | Picture
"""What a step may report under a name."""


def numbers(metrics: Mapping[str, Reported]) -> dict[str, float]:
    """Return the metrics that are no pictures."""
    return {name: value for name, value in metrics.items() if not isinstance(value, Picture)}


def pictures(metrics: Mapping[str, Reported]) -> dict[str, Picture]:
    """Return the metrics that are pictures."""
    return {name: value for name, value in metrics.items() if isinstance(value, Picture)}


def row(panels: Sequence[Float[Tensor, "1 3 height width"]]) -> Float[Tensor, "1 3 panel_height row_width"]:
    """Return images side by side, each shrunk by areas to at most `PANEL_PX`."""
    size = min(PANEL_PX, panels[0].shape[-1])
    return torch.cat([functional.interpolate(panel, (size, size), mode="area") for panel in panels], dim=3)


def sheet(rows: Sequence[Float[Tensor, "1 3 panel_height row_width"]]) -> Picture:
    """Return rows of one width below each other; values beyond [0, 1] are cut off."""
    image = torch.cat(tuple(rows), dim=2)[0].permute(1, 2, 0).clamp(0, 1)
    return Picture((image * 255).round().to(torch.uint8).cpu().numpy())
