"""Two ways to the frames of a video behind one protocol: decord (fast), and PyAV for all that decord cannot do.

decord 0.6.0 ignores edit lists and rotation, counts frames that are never shown, and fails at the end of some files. So
its frame list must agree with the container's, or PyAV reads the file.
"""

import logging
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from jaxtyping import Float64, Int64, UInt8

from mggtalk.errors import VideoError
from mggtalk.video.container import (
    INDEXED_CONTAINERS,
    beating,
    container_start_s,
    open_container,
    presentation_timestamps,
    video_stream,
)
from mggtalk.video.layout import layout_of

logger = logging.getLogger(__name__)

RgbImage = UInt8[np.ndarray, "height width 3"]

_DECODED_ON = 100
"""Frames that are decoded rather than sought past: key frames lie 10 to 300 frames apart."""


class FrameReader(Protocol):
    """Random access to the frames of one video, fast when the indices are close together."""

    def frames(self, indices: Sequence[int]) -> Iterator[RgbImage]:
        """Yield the frames `indices` (strictly increasing).

        Raises:
            VideoError: a frame cannot be decoded; frames before it have been yielded.
        """
        ...


class PyAvReader:
    """Reads any video by its timestamps, upright and with square pixels as its metadata say.

    Attributes:
        presentation_s: presentation time of every frame, from the start of the container.
        indexed: the container states its frames reliably.
        layout: how stored frames lie on the screen. width, height: of the upright frames.
    """

    def __init__(self, path: str) -> None:
        """Read the timestamps of all frames, and decode the first.

        Raises:
            VideoError: there is no video stream, or no frame can be decoded.
        """
        self.path = path
        with open_container(path) as container:
            stream = video_stream(container, path)
            timestamps = presentation_timestamps(container, stream)
            self.indexed = container.format.name in INDEXED_CONTAINERS
        with open_container(path) as container:
            stream = video_stream(container, path)
            first = next(container.decode(stream), None)
            if first is None:
                raise VideoError(f"{path}: no frame can be decoded")
            self.layout = layout_of(stream, first, path)
            origin_s = container_start_s(container)
            time_base = float(stream.time_base or 1)
        self._timestamps: Int64[np.ndarray, " num_frames"] = timestamps
        self.presentation_s: Float64[np.ndarray, " num_frames"] = timestamps * time_base - origin_s
        self.width, self.height = self.layout.upright_size
        # One for all frames: a frame's own would start a pool of threads for every picture, five times as slow.
        self._converter = VideoReformatter()
        self._decoded: Generator[VideoFrame, None, None] | None = None
        self._next = 0

    def frames(self, indices: Sequence[int]) -> Iterator[RgbImage]:
        """Yield the frames `indices`; see `FrameReader`. A call that follows on the last one decodes on."""
        for index in indices:
            yield self._image(self._frame(index))

    def _frame(self, index: int) -> VideoFrame:
        is_ahead = self._decoded is not None and index >= self._next
        if is_ahead and (index < self._next + _DECODED_ON or not self.indexed):
            return self._advance(index)
        if index > 0 and self.indexed:
            self._start(seek_to=index)
            try:
                return self._advance(index)
            except VideoError as failure:  # Matroska may lack its index, and then a seek can land behind the frame
                logger.debug("%s; from the start again", failure)
        self._start()
        return self._advance(index)

    def _start(self, seek_to: int | None = None) -> None:
        if self._decoded is not None:
            self._decoded.close()
        self._decoded, self._next = self._decode(seek_to), 0 if seek_to is None else seek_to

    def _advance(self, index: int) -> VideoFrame:
        assert self._decoded is not None, "not started"
        wanted = int(self._timestamps[index])
        try:
            frame = next((frame for frame in self._decoded if (frame.pts or 0) >= wanted), None)
        except VideoError:
            self._decoded = None
            raise
        self._next = index + 1
        if frame is None or frame.pts != wanted:
            self._decoded = None
            raise VideoError(f"{self.path}: frame {index} at {self.presentation_s[index]:.3f} s cannot be decoded")
        return frame

    def _decode(self, seek_to: int | None) -> Generator[VideoFrame, None, None]:
        with open_container(self.path) as container:
            stream = video_stream(container, self.path)
            if seek_to is not None:
                container.seek(int(self._timestamps[seek_to]), stream=stream)
            yield from (frame for frame in beating(container.decode(stream)) if frame.pts is not None)

    def _image(self, frame: VideoFrame) -> RgbImage:
        # A size that changes on the way (calls and streams do when the line gets thin) is brought back to the first.
        size = (self.layout.width, self.layout.height)
        converted = self._converter.reformat(frame, *size, format="rgb24", interpolation="BICUBIC", threads=1)
        image: RgbImage = converted.to_ndarray()
        return np.ascontiguousarray(np.rot90(image, self.layout.rotation // 90))


class DecordReader:
    """Reads the frames of a video through decord on one thread."""

    def __init__(self, path: str) -> None:
        """Open the file.

        Raises:
            VideoError: decord is not installed (it has wheels for x86-64 only), or cannot open the file.
        """
        try:
            import decord  # noqa: PLC0415 - not on every platform, and not in processes that never decode
        except ImportError as cause:
            raise VideoError(f"{path}: decord is not installed") from cause
        decord.logging.set_level(decord.logging.QUIET)
        self.path = path
        try:
            self._video: Any = decord.VideoReader(str(Path(path).absolute()), num_threads=1)
            self.presentation_s = np.asarray(self._video.get_frame_timestamp(range(len(self._video)))[:, 0], np.float64)
        except (decord.DECORDError, RuntimeError, IndexError) as cause:
            raise VideoError(f"{path}: decord cannot open it") from cause
        self._error = decord.DECORDError
        self._next = 0

    def frames(self, indices: Sequence[int]) -> Iterator[RgbImage]:
        """Yield the frames `indices`; see `FrameReader`."""
        try:
            for position, index in enumerate(indices):
                # Skipping decodes on; seeking goes through the nearest key frame, which only pays for the first.
                if position == 0 and index != self._next:
                    self._video.seek_accurate(index)
                elif index > self._next:
                    self._video.skip_frames(index - self._next)
                image: RgbImage = self._video.next().asnumpy()
                self._next = index + 1
                yield image
        except (self._error, StopIteration, RuntimeError) as cause:
            raise VideoError(f"{self.path}: decord fails after {self._next} frames") from cause


class FallbackReader:
    """Reads through `primary` until it fails once, and through `secondary` from that frame on."""

    def __init__(self, primary: FrameReader, secondary: FrameReader) -> None:
        """Take two readers of the same frames."""
        self._reader = primary
        self._secondary = secondary

    def frames(self, indices: Sequence[int]) -> Iterator[RgbImage]:
        """Yield the frames `indices`; see `FrameReader`."""
        done = 0
        try:
            for frame in self._reader.frames(indices):
                done += 1
                yield frame
        except VideoError as failure:
            if self._reader is self._secondary:
                raise
            logger.warning("%s; reading on with PyAV", failure)
            self._reader = self._secondary
            yield from self._secondary.frames(indices[done:])
