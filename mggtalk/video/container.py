"""Opens media containers safely, and puts every stream of a file on one clock.

FFmpeg's demuxers include playlists, scripts and image sequences that open *other* files and URLs. None of these count
as videos: only real containers may open, and only through the `file` protocol. Every reader of media starts here.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream
from jaxtyping import Bool, Int64

from mggtalk.errors import VideoError
from mggtalk.heartbeat import beat

ItemT = TypeVar("ItemT")

# FFmpeg's names of the demuxers. None of them follows references to other files: mov/mp4 does so only under
# `enable_drefs`, which is off by default.
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,flv,ogg,asf,mxf,wav,flac"  # the last two hold only audio
)

# Containers whose index states the time of every frame, and in which every FFmpeg seeks to the requested frame.
INDEXED_CONTAINERS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"})

MAX_PIXELS = 8192 * 8192
"""Largest frame: twice the pixels of 8K. A damaged header can state more than fits into memory."""


class UnsupportedFileError(VideoError):
    """The file is no supported media container."""


class NoVideoStreamError(VideoError):
    """The container has no video stream."""


@contextmanager
def open_container(path: str) -> Iterator[InputContainer]:
    """Open a media file for reading; FFmpeg's errors inside the block become `VideoError`.

    Raises:
        UnsupportedFileError: the file is no container of `CONTAINERS`, or cannot be opened.
        VideoError: FFmpeg fails on the content while the block reads it; the message names the file.
    """
    options = {"protocol_whitelist": "file", "format_whitelist": CONTAINERS}
    try:
        # An absolute path, because FFmpeg takes `name:rest` for a protocol.
        container = av.open(str(Path(path).absolute()), options=options, metadata_errors="replace")
    except (av.FFmpegError, OSError) as cause:
        raise UnsupportedFileError(f"{path}: no video container that can be opened ({_reason(cause)})") from cause
    with container:
        try:
            yield container
        except av.FFmpegError as cause:
            raise VideoError(f"{path}: cannot be decoded ({_reason(cause)})") from cause


def video_stream(container: InputContainer, path: str) -> VideoStream:
    """Return the main video stream, set to decode on one thread (the stages run one process per core).

    Raises:
        NoVideoStreamError: there is none; cover images of audio files do not count.
        VideoError: its codec is unknown, or its frames are larger than `MAX_PIXELS`.
    """
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    best = container.streams.best("video")
    if not streams:
        raise NoVideoStreamError(f"{path}: no video stream")
    stream = best if isinstance(best, VideoStream) and best in streams else streams[0]
    if stream.codec_context is None:
        raise VideoError(f"{path}: its video codec is unknown")
    if stream.width * stream.height > MAX_PIXELS:
        raise VideoError(f"{path}: frames of {stream.width}x{stream.height}; expected at most {MAX_PIXELS} pixels")
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}  # for frames that state another size later
    stream.codec_context.thread_count = 1
    return stream


def container_start_s(container: InputContainer) -> float:
    """Return the container's start time: second 0 of the presentation for all its streams."""
    return (container.start_time or 0) / av.time_base


def presentation_timestamps(
    container: InputContainer, stream: VideoStream
) -> tuple[Int64[np.ndarray, " num_frames"], Bool[np.ndarray, " num_frames"]]:
    """Return the sorted timestamps of all shown frames, in units of `stream.time_base`, and which are key frames.

    An indexed container is read without decoding, and frames that an edit list cuts away are left out. In others the
    packets' times are only a guess, so the frames are decoded.

    Raises:
        VideoError: there are no timestamps, or they run backwards.
    """
    if container.format.name in INDEXED_CONTAINERS:
        packets = (packet for packet in beating(container.demux(stream)) if packet.size and not packet.is_discard)
        shown = sorted({packet.pts: packet.is_keyframe for packet in packets if packet.pts is not None}.items())
    else:
        frames = (frame for frame in beating(container.decode(stream)) if frame.pts is not None)
        shown = [(frame.pts, bool(frame.key_frame)) for frame in frames if frame.pts is not None]
    if not shown:
        raise VideoError(f"{container.name}: its frames bear no timestamps")
    ordered = np.array([timestamp for timestamp, _ in shown], np.int64)
    if np.any(np.diff(ordered) <= 0):
        raise VideoError(
            f"{container.name}: its timestamps run backwards (H.264 in AVI does); copy its streams into an MP4"
        )
    return ordered, np.array([is_key for _, is_key in shown])


def is_indexed(path: str) -> bool:
    """Return whether a file's container has a reliable index, so that a frame can be read without those before it.

    Raises:
        UnsupportedFileError: as `open_container`.
    """
    with open_container(path) as container:
        return container.format.name in INDEXED_CONTAINERS


def beating(items: Iterable[ItemT]) -> Iterator[ItemT]:
    """Yield the items, with a heartbeat for each."""
    for item in items:
        beat()
        yield item


def _reason(cause: Exception) -> str:
    if isinstance(cause, av.ArgumentError):
        return f"its format is none of {CONTAINERS}"
    return str(getattr(cause, "strerror", None) or cause)
