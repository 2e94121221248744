"""Resamples the frames of a video, at arbitrary times, onto a grid of constant frame rate."""

import math

import numpy as np
from jaxtyping import Float64, Int32


def resample_nearest(
    presentation_s: Float64[np.ndarray, " num_source"],
    fps: float,
    start_s: float = 0.0,
    end_s: float = math.inf,
) -> Int32[np.ndarray, " num_frames"]:
    """Return, for each time of the grid, the index of the frame nearest in time.

    Only frames with start_s <= t < end_s take part, so neighbouring intervals share no frame. The grid is
    `first + i / fps` from the first such frame until the end of the last one (its duration taken as the median step) or
    `end_s`. A frame repeats where the video is slower than the grid; of two equally near frames the earlier one wins.

    Args:
        presentation_s: strictly increasing presentation times in seconds.
        fps: frames per second of the grid.
        start_s: first time in the interval. end_s: first time after it.

    Returns:
        Indices into `presentation_s`, never decreasing; empty if no frame is in the interval.
    """
    inside = np.flatnonzero((presentation_s >= start_s) & (presentation_s < end_s))
    if not inside.size:
        return np.empty(0, np.int32)
    times = presentation_s[inside]
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1.0 / fps
    shown_s = min(times[-1] + step, end_s) - times[0]
    # Containers round timestamps (to 1/90000 s or coarser), so a thousandth of a frame too much adds no frame.
    num_frames = max(1, math.ceil(shown_s * fps - 1e-3))
    grid = times[0] + np.arange(num_frames) / fps
    midpoints = (times[:-1] + times[1:]) / 2
    # The slack keeps frames midway between two from flipping with the last bit of a division.
    nearest = np.searchsorted(midpoints, grid - 1e-9, side="left")
    frame_index: Int32[np.ndarray, " num_frames"] = inside[nearest].astype(np.int32)
    return frame_index
