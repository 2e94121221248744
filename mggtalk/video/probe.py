"""Probes a video file: size, frame rate, duration, codec and audio as its container states them."""

from dataclasses import dataclass

import av

from mggtalk.errors import VideoError
from mggtalk.video.container import open_container, video_stream
from mggtalk.video.layout import layout_of


@dataclass(frozen=True, slots=True)
class VideoProbe:
    """The main video stream of a file.

    Attributes:
        width, height: of the upright frames, in square pixels.
        fps: average frame rate. num_frames, duration_s: as the container states them; 0 if it states none.
        has_audio: whether there is an audio stream. codec: FFmpeg's name of the video codec.
    """

    width: int
    height: int
    fps: float
    num_frames: int
    duration_s: float
    has_audio: bool
    codec: str


def probe(path: str) -> VideoProbe:
    """Read the properties of a video file, and decode its first frame to check that this works.

    Raises:
        UnsupportedFileError: the file is no media container. NoVideoStreamError: it has no video stream.
        VideoError: no frame can be decoded.
    """
    with open_container(path) as container:
        stream = video_stream(container, path)
        first = next(container.decode(stream), None)
        if first is None:
            raise VideoError(f"{path}: no frame can be decoded")
        width, height = layout_of(stream, first, path).upright_size
        return VideoProbe(
            width=width,
            height=height,
            fps=float(stream.average_rate or 0),
            num_frames=stream.frames,
            duration_s=(container.duration or 0) / av.time_base,
            has_audio=bool(container.streams.audio),
            codec=stream.codec_context.name,
        )
