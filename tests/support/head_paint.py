"""Shape and paint of synthetic heads, as functions of the point on the unit sphere."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_MOUTH, _CHIN = -0.35, -0.9  # heights on the unit sphere: between them the lower face is dragged down
_JAW_DROP = 0.3  # of the unit sphere, at `jawOpen` 1


@dataclass(frozen=True)
class SyntheticHead:
    """Shape and paint of one person.

    Attributes:
        radii: semi-axes of the ellipsoid, cm. skin, hair, eyes, wall: RGB in [0, 1].
    """

    radii: tuple[float, float, float]
    skin: tuple[float, float, float]
    hair: tuple[float, float, float]
    eyes: tuple[float, float, float]
    wall: tuple[float, float, float]


def head_color(head: SyntheticHead, on_sphere: np.ndarray, expression: Sequence[float]) -> np.ndarray:
    """Return the RGB of points of the unit sphere under an expression, in [0, 1]."""
    x, y, z = np.moveaxis(on_sphere, -1, 0)
    drop = _drop(x, expression[0])
    gap = (y < _MOUTH) & (y > _MOUTH - drop) & (z > 0)
    y = np.where((y < _MOUTH) & (z > 0), _undragged(y, drop), y)
    color = np.array(head.skin) * (0.85 + 0.15 * z)[..., None] + 0.05 * np.stack([x, y, -y], axis=-1)

    def paint(where: np.ndarray, paint_color: Sequence[float] | np.ndarray) -> None:
        color[where] = paint_color

    paint((y > 0.55 + 0.2 * x**2) | (z < -0.1), head.hair)
    for side in (-1, 1):
        lid = head.skin if side > 0 and expression[1] > 0.5 else head.eyes
        paint((((x - 0.4 * side) / 0.16) ** 2 + ((y - 0.2) / 0.1) ** 2 < 1) & (z > 0), lid)
    paint((np.abs(x) < 0.1) & (y > -0.15) & (y < 0.15) & (z > 0), np.array(head.skin) * [1.15, 0.9, 0.85])
    paint((np.abs(x) < 0.3) & (np.abs(y - _MOUTH) < 0.06) & (z > 0), (0.7, 0.25, 0.25))
    paint(gap, (0.25, 0.05, 0.08))
    clipped: np.ndarray = color.clip(0, 1)
    return clipped


def wall_color(head: SyntheticHead, positions: np.ndarray) -> np.ndarray:
    """Return a wall with a soft gradient, and shoulders in front of it."""
    column, row = np.moveaxis(positions, -1, 0)
    wall = np.array(head.wall) * (0.8 + 0.4 * row)[..., None]
    shoulders = ((column - 0.5) / 0.4) ** 2 + ((row - 1.05) / 0.25) ** 2 < 1
    return np.where(shoulders[..., None], [0.2, 0.3, 0.5], wall).clip(0, 1)


def dragged_height(x: np.ndarray, y: np.ndarray, z: np.ndarray, jaw_open: float) -> np.ndarray:
    """Return the heights of points of the unit sphere after the jaw dragged the lower face down."""
    return np.where((y < _MOUTH) & (z > 0), _dragged(y, _drop(x, jaw_open)), y)


def _drop(x: np.ndarray, jaw_open: float) -> np.ndarray:
    """Return how far the lower lip drops at `x` of the unit sphere: most in the middle, not at all beside the mouth."""
    drop: np.ndarray = _JAW_DROP * jaw_open * np.maximum(1 - (x / 0.4) ** 2, 0)
    return drop


def _dragged(y: np.ndarray, drop: np.ndarray) -> np.ndarray:
    """Return where the paint at height `y` below the mouth goes; the chin stays."""
    dragged: np.ndarray = y - drop * np.maximum(y - _CHIN, 0) / (_MOUTH - _CHIN)
    return dragged


def _undragged(y: np.ndarray, drop: np.ndarray) -> np.ndarray:
    """Return where the paint that is now at height `y` came from."""
    fraction = drop / (_MOUTH - _CHIN)
    return np.where(y > _CHIN, np.minimum((y - fraction * _CHIN) / (1 - fraction), _MOUTH), y)
