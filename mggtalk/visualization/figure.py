"""Draws a figure: captioned square panels in a grid under a title, on white, as a paper would print it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

Color = tuple[int, int, int]
Image = UInt8[np.ndarray, "height width 3"]

PAPER: Color = (255, 255, 255)
INK: Color = (29, 33, 38)
SOFT: Color = (91, 99, 109)
_MARGIN, _GUTTER = 28, 18
_TITLE_PX, _TEXT_PX, _LINE = 21, 14, 22  # size of the title and of all other text, and from one line to the next
_BOLD, _REGULAR = 600, 400
_BAR_WIDTH, _BAR_HEIGHT, _SWATCH = 90, 9, 11
_GAP = 6  # between the parts of a caption


@dataclass(frozen=True, slots=True)
class Swatch:
    """A part of a caption: a square in the colour that the text explains."""

    color: Color
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """A part of a caption: a bar of the panel's colours from `low` to `high`."""

    colors: UInt8[np.ndarray, "num_colors 3"]
    low: str
    high: str


Part = str | Swatch | Scale


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One square image of the figure with its name and a caption."""

    name: str
    caption: Sequence[Part]
    image: UInt8[np.ndarray, "size size 3"]


def draw_figure(title: str, lines: Sequence[str], panels: Sequence[Panel], columns: int) -> Image:
    """Draw the panels, all of one size, in rows of `columns` below the title and its lines.

    Text that is too long for its space is shortened in the middle.
    """
    size = len(panels[0].image)
    cell = size + 2 * _LINE + _GUTTER
    top = _MARGIN + _TITLE_PX + _LINE * len(lines) + _GUTTER
    num_rows = -(-len(panels) // columns)
    width = 2 * _MARGIN + columns * (size + _GUTTER) - _GUTTER
    figure = np.full((top + num_rows * cell - _GUTTER + _MARGIN, width, 3), PAPER, np.uint8)
    heading = _fitted(title, width - 2 * _MARGIN, _TITLE_PX, _BOLD)
    _write(figure, heading, _MARGIN, _MARGIN + _TITLE_PX - 4, _TITLE_PX, weight=_BOLD)
    for number, line in enumerate(lines):
        baseline = _MARGIN + _TITLE_PX + _LINE * (number + 1) - 2
        _write(figure, _fitted(line, width - 2 * _MARGIN), _MARGIN, baseline, color=SOFT)
    for number, panel in enumerate(panels):
        row, column = divmod(number, columns)
        left, upper = _MARGIN + column * (size + _GUTTER), top + row * cell
        figure[upper : upper + size, left : left + size] = panel.image
        letter = chr(ord("a") + number)
        _write(figure, f"({letter}) {panel.name}", left, upper + size + _LINE - 4, weight=_BOLD)
        _write_caption(figure[:, : left + size], panel.caption, left, upper + size + 2 * _LINE - 5)
    return figure


def _write_caption(column: Image, parts: Sequence[Part], left: int, baseline: int) -> None:
    """Write the parts of a caption from left to right, within `column`."""
    middle = baseline - _TEXT_PX // 3

    def write(text: str) -> int:
        return _write(column, _fitted(text, column.shape[1] - left), left, baseline, color=SOFT)

    def paint(colors: Image) -> int:
        height, width = colors.shape[:2]
        area = column[middle - height // 2 :, left : left + width][:height]
        area[:] = colors[:, : area.shape[1]]
        return left + int(width) + _GAP

    for part in parts:
        if isinstance(part, Scale):
            left = write(part.low) + _GAP
            left = paint(cv2.resize(part.colors[None], (_BAR_WIDTH, _BAR_HEIGHT), interpolation=cv2.INTER_LINEAR))
            left = write(part.high)
        elif isinstance(part, Swatch):
            left = paint(np.full((_SWATCH, _SWATCH, 3), part.color, np.uint8))
            left = write(part.text)
        else:
            left = write(part)
        left += 2 * _GAP


def _write(
    figure: Image,
    text: str,
    left: int,
    baseline: int,
    size: int = _TEXT_PX,
    color: Color = INK,
    weight: int = _REGULAR,
) -> int:
    """Write one line and return the column of its end."""
    (end, _), _ = cv2.putText(figure, text, (left, baseline), color, _font(), size, weight)
    return int(end)


def _fitted(text: str, width: int, size: int = _TEXT_PX, weight: int = _REGULAR) -> str:
    """Shorten `text` in its middle until it fits into `width` pixels."""
    kept = len(text)
    fitted = text
    while _text_width(fitted, size, weight) > width and kept > 2:
        kept -= 1
        fitted = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
    return fitted


def _text_width(text: str, size: int, weight: int) -> int:
    (_, _, width, _) = cv2.getTextSize((0, 0), text, (0, 0), _font(), size, weight)
    return int(width)


@cache
def _font() -> Any:
    return cv2.FontFace("sans")  # comes with OpenCV, so the image is the same everywhere
