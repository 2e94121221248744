"""Writes small synthetic videos: every frame shows its number as bars, so that a test can tell which one it got."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream
from jaxtyping import Float32, UInt8

Samples = Float32[np.ndarray, " num_samples"]
RgbImage = UInt8[np.ndarray, "height width 3"]

NUM_BITS = 10
AUDIO_RATE_HZ = 16_000
_TIME_BASE = Fraction(1, 90_000)


def numbered_frame(number: int, width: int = 160, height: int = 96) -> RgbImage:
    """Return an image that shows `number` (below 1024) as ten black or white bars, over a coloured lower half."""
    bits = [(number >> bit) & 1 for bit in range(NUM_BITS)]
    bars = np.repeat(np.array(bits, np.uint8) * 255, -(-width // NUM_BITS))[:width]
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2] = bars[None, :, None]
    image[height // 2 :] = np.array([200, 90, 40], np.uint8)
    image[height // 2 :, : width // 2, 2] = 160
    return image


def frame_number(image: RgbImage) -> int:
    """Return the number that `numbered_frame` drew, after any lossy coding."""
    height, width = image.shape[:2]
    bar = -(-width // NUM_BITS)
    centres = np.minimum(np.arange(NUM_BITS) * bar + bar // 2, width - 1)
    return int(sum(1 << bit for bit, value in enumerate(image[height // 4, centres].mean(-1)) if value > 127))


def tone(duration_s: float, frequency_hz: float = 440.0, amplitude: float = 0.5) -> Samples:
    """Return a sine tone, mono at `AUDIO_RATE_HZ`."""
    times = np.arange(round(duration_s * AUDIO_RATE_HZ)) / AUDIO_RATE_HZ
    return (amplitude * np.sin(2 * np.pi * frequency_hz * times)).astype(np.float32)


def write_video(
    path: Path,
    num_frames: int = 30,
    fps: float = 25.0,
    *,
    width: int = 160,
    height: int = 96,
    codec: str = "libx264",
    times_s: Sequence[float] | None = None,
    audio: Samples | None = None,
    audio_codec: str = "aac",
    audio_start_s: float = 0.0,
    audio_rate_hz: int = AUDIO_RATE_HZ,
    rotation: int = 0,
    pixel_format: str = "yuv420p",
    pixel_aspect: Fraction | None = None,
    options: dict[str, str] | None = None,
    draw_frame: Callable[[int, int, int], RgbImage] = numbered_frame,
) -> Path:
    """Write a small video and return its path, whose suffix chooses the container.

    Args:
        codec: `libx264` or `mpeg4`, say. audio_codec: `aac`, or `pcm_s16le` for exact samples in `.mov` and `.mkv`.
        times_s: presentation times of a variable frame rate; overrides `num_frames` and `fps`.
        audio: samples at `audio_rate_hz` that start at `audio_start_s`.
        rotation: degrees in the display matrix. pixel_aspect: width of a pixel by its height; not stated if None.
        options: of the encoder. draw_frame: draws frame `number` at (number, width, height).
    """
    times = [number / fps for number in range(num_frames)] if times_s is None else list(times_s)
    rate = Fraction(fps).limit_denominator(1001)
    with av.open(str(path), "w") as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=rate, options=options or {}))
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        # MPEG codecs take no finer time base than their frame rate.
        time_base = _TIME_BASE if codec == "libx264" else 1 / rate
        stream.codec_context.time_base = time_base
        stream.codec_context.gop_size, stream.codec_context.thread_count = 12, 1
        if rotation:
            stream.set_display_rotation(rotation)
        audio_stream = None
        if audio is not None:
            audio_stream = cast(AudioStream, container.add_stream(audio_codec, rate=audio_rate_hz, layout="mono"))
        for number, time_s in enumerate(times):
            frame = av.VideoFrame.from_ndarray(draw_frame(number, width, height), format="rgb24")
            frame.time_base = time_base
            frame.pts = round(time_s / time_base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if audio_stream is not None and audio is not None:
            _mux_audio(container, audio_stream, audio, audio_start_s, audio_rate_hz)
    return path


def truncated_copy(source: Path, target: Path, keep: float = 0.5) -> Path:
    """Write the first `keep` of the bytes of `source` to `target`."""
    content = source.read_bytes()
    target.write_bytes(content[: int(len(content) * keep)])
    return target


def corrupted_copy(source: Path, target: Path, start: float = 0.3, stop: float = 0.6, seed: int = 0) -> Path:
    """Write `source` to `target` with the bytes between two fractions of its length replaced by noise."""
    content = bytearray(source.read_bytes())
    begin, end = int(len(content) * start), int(len(content) * stop)
    content[begin:end] = np.random.default_rng(seed).bytes(end - begin)
    target.write_bytes(content)
    return target


def with_broken_audio(source: Path, target: Path, seed: int = 0) -> Path:
    """Write `source` to `target` with every audio packet replaced by noise."""
    content = bytearray(source.read_bytes())
    random = np.random.default_rng(seed)
    with av.open(str(source)) as container:
        for packet in container.demux(container.streams.audio[0]):
            if packet.size and packet.pos is not None:
                content[packet.pos : packet.pos + packet.size] = random.bytes(packet.size)
    target.write_bytes(content)
    return target


def _mux_audio(
    container: OutputContainer, stream: AudioStream, audio: np.ndarray, start_s: float, rate_hz: int
) -> None:
    samples = np.round(np.clip(audio, -1, 1) * 32767).astype(np.int16)[None]
    frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
    frame.sample_rate, frame.time_base = rate_hz, Fraction(1, rate_hz)
    frame.pts = round(start_s * rate_hz)
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def decord_frames(path: str) -> list[RgbImage]:
    """Return every frame as decord decodes it."""
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    video = decord.VideoReader(path, num_threads=1)
    return [video.next().asnumpy() for _ in range(len(video))]
