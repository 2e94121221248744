"""Writes frames as a video that browsers play: H.264, 4:2:0, index first."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream
from jaxtyping import UInt8

from mggtalk.errors import VideoError
from mggtalk.files import atomic_path

RgbImage = UInt8[np.ndarray, "height width 3"]

_ENCODERS = ("libx264", "libopenh264", "h264")
_QUALITY = "18"  # constant rate factor: hard to tell from the original


def write_mp4(path: str | Path, frames: Iterable[RgbImage], fps: float) -> None:
    """Write frames of one size as an MP4, which appears whole; an odd side repeats its last row or column.

    Raises:
        VideoError: this FFmpeg has no H.264 encoder, or there are no frames.
        ValueError: a frame differs in size from the first.
    """
    target = Path(path)
    encoder = next((name for name in _ENCODERS if name in av.codecs_available and _encodes(name)), None)
    if encoder is None:
        raise VideoError(f"{path}: cannot be written: FFmpeg has no H.264 encoder; looked for {', '.join(_ENCODERS)}")
    images = iter(frames)
    first = next(images, None)
    if first is None:
        raise VideoError(f"{path}: cannot be written: no frames")
    with atomic_path(target) as partial:
        _write(partial, encoder, chain([first], images), first.shape, fps)


def _write(path: Path, encoder: str, images: Iterator[RgbImage], shape: tuple[int, ...], fps: float) -> None:
    height, width = shape[:2]
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(str(path), "w", format="mp4", options=options) as container:
        rate = Fraction(fps).limit_denominator(1001)
        stream = cast(VideoStream, container.add_stream(encoder, rate=rate))
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        # States the result of the conversion below, so that no player has to guess: BT.601, 16 to 235.
        stream.codec_context.colorspace, stream.codec_context.color_range = Colorspace.ITU601, ColorRange.MPEG
        stream.codec_context.thread_count = 1  # same frames, same bytes on any machine
        if encoder == "libx264":
            stream.options = {"crf": _QUALITY, "preset": "veryfast"}
        for number, image in enumerate(images):
            if image.shape != shape:
                raise ValueError(f"{path}: frame {number} is {image.shape}; expected {shape} as the first")
            padded = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(padded, format="rgb24")))
        container.mux(stream.encode(None))


def _encodes(name: str) -> bool:
    try:
        av.Codec(name, "w")
    except ValueError:
        return False
    return True
