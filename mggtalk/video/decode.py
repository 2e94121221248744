"""Decodes a video, or an interval of it, at a constant frame rate."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int32

from mggtalk.errors import VideoError
from mggtalk.heartbeat import beat
from mggtalk.video.readers import PyAvReader, RgbImage
from mggtalk.video.timeline import resample_nearest

# Damaged timestamps can state that a second of frames lasts for years. A video with less than one frame per second,
# over more than a minute, is no talking video.
_SHORT_S = 60.0
_MOST_SHOWN_S = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class ResampledVideo:
    """An interval of a video at a constant frame rate: frame i stands for the time `times_s[0] + i / fps`.

    Attributes:
        path: the file. fps: frames per second of the grid.
        times_s: presentation time of the decoded frame behind each frame, from the start of the container.
        frame_index: its index among all frames of the video; never decreasing, repeats where the video is slower.
        width, height: of the upright frames, in pixels.
    """

    path: str
    fps: float
    times_s: Float64[np.ndarray, " num_frames"]
    frame_index: Int32[np.ndarray, " num_frames"]
    width: int
    height: int
    reader: PyAvReader

    @property
    def num_frames(self) -> int:
        """Number of frames on the grid."""
        return len(self.frame_index)

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[RgbImage]:
        """Yield the frames `start` to `stop` (exclusive; the end if None), RGB, one at a time in constant memory.

        No frame is decoded twice: a repeated one is copied, so the caller owns each image.

        Raises:
            VideoError: a frame cannot be decoded; the message names the file.
        """
        wanted, repeats = np.unique(self.frame_index[start:stop], return_counts=True)
        images = self.reader.frames(wanted.tolist())
        for image, count in zip(images, repeats, strict=True):
            beat()
            yield image
            for _ in range(count - 1):
                beat()
                yield image.copy()


def open_video(path: str, fps: float = 25.0, start_s: float = 0.0, end_s: float = math.inf) -> ResampledVideo:
    """Open the interval [start_s, end_s) of a video, resampled to `fps` by nearest presentation time.

    Raises:
        VideoError: the file cannot be decoded, or no frame falls in the interval; the message names the file.
    """
    reader = PyAvReader(path)
    _check_duration(path, reader.presentation_s, start_s, end_s)
    frame_index = resample_nearest(reader.presentation_s, fps, start_s, end_s)
    if not frame_index.size:
        last_s = reader.presentation_s[-1]
        raise VideoError(f"{path}: no frame from {start_s:.3f} to {end_s:.3f} s; the last is at {last_s:.3f} s")
    return ResampledVideo(
        path=path,
        fps=fps,
        times_s=reader.presentation_s[frame_index],
        frame_index=frame_index,
        width=reader.width,
        height=reader.height,
        reader=reader,
    )


def _check_duration(
    path: str, presentation_s: Float64[np.ndarray, " num_frames"], start_s: float, end_s: float
) -> None:
    inside = presentation_s[(presentation_s >= start_s) & (presentation_s < end_s)]
    duration_s = float(np.ptp(inside)) if inside.size else 0.0
    if duration_s > _SHORT_S + _MOST_SHOWN_S * inside.size:
        raise VideoError(f"{path}: {inside.size} frames last {duration_s:.0f} s; expected at least one a second")
