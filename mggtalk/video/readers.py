"""Two ways to the frames of a video behind one protocol: decord (fast), and PyAV for all that decord cannot do.

decord 0.6.0 ignores edit lists and rotation, counts frames that are never shown, and fails at the end of some files. So
its frame list must agree with the container's, or PyAV reads the file.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from mggtalk.errors import VideoError
from mggtalk.video.container import (
    INDEXED_CONTAINERS,
    container_start_s,
    open_container,
    presentation_timestamps,
    upright_rotation,
    video_stream,
)

logger = logging.getLogger(__name__)

RgbImage = UInt8[np.ndarray, "height width 3"]


class FrameReader(Protocol):
    """Random access to the frames of one video, fast when the indices are close together."""

    def frames(self, indices: Sequence[int]) -> Iterator[RgbImage]:
        """Yield the frames `indices` (strictly increasing).

        Raises:
            VideoError: a frame cannot be decoded; frames before it have been yielded.
        """
        ...


class PyAvReader:
    """Reads any video by its timestamps, upright as its rotation metadata says.

    Attributes:
        presentation_s: presentation time of every frame, from the start of the container.
        indexed: the container states its frames reliably.
        width, height: of the upright frames.
        rotation: degrees counter-clockwise that make the stored frames upright.
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
            origin_s = container_start_s(container)
            time_base = float(stream.time_base or 1)
        self._timestamps: Int64[np.ndarray, " num_frames"] = timestamps
        self.presentation_s: Float64[np.ndarray, " num_frames"] = timestamps * time_base - origin_s
        self.rotation = upright_rotation(first.rotation, path)
        size = (first.width, first.height)
        self.width, self.height = size if self.rotation % 180 == 0 else size[::-1]

    def frames(self, indices: Sequence[int]) -> Iterator[RgbImage]:
        """Yield the frames `indices`; see `FrameReader`."""
        done = 0
        if len(indices) and indices[0] > 0 and self.indexed:
            try:
                for image in self._decode(indices, seek=True):
                    done += 1
                    yield image
            except VideoError:
                if done:
                    raise
            else:
                return
        # From the start: Matroska may lack its index, and then a seek can land behind the frame.
        yield from self._decode(indices, seek=False)

    def _decode(self, indices: Sequence[int], *, seek: bool) -> Iterator[RgbImage]:
        with open_container(self.path) as container:
            stream = video_stream(container, self.path)
            if seek:
                container.seek(int(self._timestamps[indices[0]]), stream=stream)
            decoded = ((frame.pts, frame) for frame in container.decode(stream) if frame.pts is not None)
            for index in indices:
                wanted = int(self._timestamps[index])
                timestamp, frame = next((shown for shown in decoded if shown[0] >= wanted), (None, None))
                if frame is None or timestamp != wanted:
                    time_s = self.presentation_s[index]
                    raise VideoError(f"{self.path}: frame {index} at {time_s:.3f} s cannot be decoded")
                image = frame.to_ndarray(format="rgb24")
                yield np.ascontiguousarray(np.rot90(image, self.rotation // 90))


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
