"""Rasterises points as small discs that face the viewer; the nearest one wins a pixel."""

import numpy as np
from jaxtyping import Float, Int64

NOTHING = -1


def nearest_points(
    pixels: Float[np.ndarray, "num_points 2"], depth: Float[np.ndarray, " num_points"], radius: float, size: int
) -> Int64[np.ndarray, "size size"]:
    """Return the index of the nearest point at every pixel of a square image, `NOTHING` where there is none.

    Args:
        pixels: column and row, pixel centres at +0.5. depth: smaller is nearer; of equals, the first point wins.
        radius: of the discs, in pixels.
    """
    order = np.argsort(depth, kind="stable")
    columns, rows = np.floor(pixels[order]).astype(np.int64).T
    nearest = np.full(size * size, len(order))  # the rank by depth of the nearest point so far
    reach = int(radius)
    for row_step in range(-reach, reach + 1):
        for column_step in range(-reach, reach + 1):
            if row_step**2 + column_step**2 > radius**2:
                continue
            row, column = rows + row_step, columns + column_step
            inside = np.flatnonzero((row >= 0) & (row < size) & (column >= 0) & (column < size))
            np.minimum.at(nearest, row[inside] * size + column[inside], inside)
    return np.asarray(np.append(order, NOTHING)[nearest].reshape(size, size), np.int64)
