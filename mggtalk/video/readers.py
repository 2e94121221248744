"""Reads the frames of a video by their timestamps, through PyAV.

decord serves only as a reference in benchmarks and tests. It is no faster, and it decodes ahead without bound, so a
consumer slower than the decoder (a landmarker) soon has all of the video in memory. It also ignores edit lists and
rotation, counts frames that are never shown, aborts on one in 12,000 damaged files, and opens files named in playlists.
"""

import logging
from collections.abc import Generator, Iterator, Sequence

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
"""Number of frames that are decoded instead of seeking past them; key frames lie 10 to 300 frames apart."""


class PyAvReader:
    """Reads any video by its timestamps, upright and with square pixels according to its metadata.

    Attributes:
        presentation_s: presentation time of every frame, from the start of the container.
        is_key_frame: whether a frame can be decoded without any other.
        indexed: whether the container has a reliable index.
        layout: of stored frames on the screen. width, height: of the upright frames.
    """

    def __init__(self, path: str) -> None:
        """Read the timestamps of all frames, and decode the first.

        Raises:
            VideoError: there is no video stream, or no frame can be decoded.
        """
        self.path = path
        with open_container(path) as container:
            stream = video_stream(container, path)
            timestamps, self.is_key_frame = presentation_timestamps(container, stream)
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
        # One for all frames, because a frame's own reformatter starts a pool of threads each time: five times as slow.
        self._converter = VideoReformatter()
        self._decoded: Generator[VideoFrame, None, None] | None = None
        self._next = 0

    def frames(self, indices: Sequence[int]) -> Iterator[RgbImage]:
        """Yield the frames at `indices` (strictly increasing); decoding continues from the previous call where it can.

        Raises:
            VideoError: a frame cannot be decoded; frames before it have been yielded.
        """
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
            except VideoError as failure:  # without an index, as Matroska allows, a seek can land behind the frame
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
        # If the size changes in the middle, as calls and streams do when bandwidth drops, scale back to the first size.
        size = (self.layout.width, self.layout.height)
        converted = self._converter.reformat(frame, *size, format="rgb24", interpolation="BICUBIC", threads=1)
        image: RgbImage = converted.to_ndarray()
        return np.ascontiguousarray(np.rot90(image, self.layout.rotation // 90))
