"""Reads the audio of an interval of a video, in step with its frames, at 16 kHz mono; encodes it as FLAC."""

import io
import math
from collections.abc import Iterator
from itertools import chain
from typing import TypeAlias

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from jaxtyping import Int16

from mggtalk.errors import VideoError
from mggtalk.video.container import INDEXED_CONTAINERS, beating, container_start_s, open_container

SAMPLE_RATE_HZ = 16_000

# Lossy codecs need some packets before their output is right, and resampling needs some samples.
_PREROLL_S = 1.0
# Timestamps jitter with the container's clock; only a longer step is a real gap, which is filled with silence. So audio
# strays from its timestamps by at most half a frame of 40 ms, even if its clock drifts.
_GAP_SAMPLES = SAMPLE_RATE_HZ // 50
_FULL_SCALE = 32_768.0
# Lossy codecs leave a bit of dither on digital silence; the quietest clip of ours with audio lies 30 dB above it.
_SILENT_PEAK = 1

Samples = Int16[np.ndarray, " num_samples"]
Packets: TypeAlias = "Iterator[Packet[AudioStream]]"  # generic to the type checker only


def read_audio(path: str, start_s: float, end_s: float) -> Samples | None:
    """Return the audio from `start_s` to `end_s`, or None if the video has no audio stream.

    The clock is that of `open_video`: seconds from the start of the container. The result has exactly
    `round((end_s - start_s) * 16000)` samples; they are 0 where the stream has a gap.

    Raises:
        UnsupportedFileError: the file cannot be opened. VideoError: the audio of the interval cannot be decoded.
        ValueError: the interval is empty or not finite.
    """
    if not -math.inf < start_s < end_s < math.inf:
        raise ValueError(f"interval from {start_s} to {end_s} s; expected start < end, both finite")
    audio = np.zeros(round((end_s - start_s) * SAMPLE_RATE_HZ), np.int16)
    for seek in (True, False):
        with open_container(path) as container:
            if not container.streams.audio:
                return None
            stream = container.streams.audio[0]
            if not stream.codec_context:
                raise VideoError(f"{path}: no decoder for its audio")
            begin_s = start_s + container_start_s(container)
            packets = _packets(container, stream, begin_s, seek=seek)
            if packets is not None:
                _fill(_decoded(packets, begin_s), begin_s, audio)
                break
    return audio


def encode_flac(samples: Samples) -> bytes:
    """Return the samples as a FLAC file; the same samples give the same bytes."""
    target = io.BytesIO()
    # Bit-exact: without FFmpeg's version in the tags.
    with av.open(target, "w", format="flac", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("flac", rate=SAMPLE_RATE_HZ, layout="mono")
        stream.codec_context.format = "s16"
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return target.getvalue()


def is_silent(samples: Samples) -> bool:
    """Return whether the samples are digital silence: none is farther from 0 than the last bit."""
    return not samples.size or int(np.abs(samples.astype(np.int32)).max()) <= _SILENT_PEAK


def level_dbfs(samples: Samples) -> float | None:
    """Return the root mean square of the samples in dB relative to full scale, to a hundredth; None for silence.

    A full-scale square wave has 0, a sine -3.01.
    """
    if is_silent(samples):
        return None
    return round(float(20 * np.log10(np.sqrt(np.mean((samples / _FULL_SCALE) ** 2)))), 2)


def _packets(container: InputContainer, stream: AudioStream, begin_s: float, *, seek: bool) -> "Packets | None":
    """Return the packets of the stream from some time before `begin_s` on; None if seeking leads to a later position.

    Without an index, or if Matroska's index covers only the video stream, packets are skipped instead.
    """
    run_in_s = begin_s - _PREROLL_S
    if seek:
        if container.format.name not in INDEXED_CONTAINERS or not stream.time_base or run_in_s <= 0:
            return None
        container.seek(int(run_in_s / stream.time_base), stream=stream)
    packets = beating(container.demux(stream))
    for packet in packets:
        if seek and (packet.pts is None or _time_s(packet) > begin_s):
            return None
        # A packet without a duration may reach far, because PCM comes in packets of any length.
        if packet.pts is None or not packet.duration or _time_s(packet, end=True) >= run_in_s:
            return chain([packet], packets)
    return iter(())


def _decoded(packets: Packets, begin_s: float) -> Iterator[AudioFrame]:
    """Yield the frames of the packets; packets that end before `begin_s` are only run-in, and may be damaged."""
    for packet in packets:
        try:
            frames = packet.decode()
        except av.FFmpegError:
            if packet.pts is None or _time_s(packet, end=True) > begin_s:
                raise
            continue
        yield from frames


def _time_s(packet: "Packet[AudioStream]", *, end: bool = False) -> float:
    """Return the time at which a packet with a timestamp begins or ends."""
    return float(((packet.pts or 0) + (packet.duration or 0) * end) * (packet.time_base or 0))


def _fill(frames: Iterator[AudioFrame], begin_s: float, audio: Samples) -> None:
    """Resample the frames and write them into `audio`, whose first sample is at `begin_s` of their clock."""
    done = 0
    for offset, samples in _resampled(frames, begin_s):
        first, stop = max(offset, done), min(offset + len(samples), len(audio))
        if first < stop:
            audio[first:stop] = samples[first - offset : stop - offset]
            done = stop
        if offset >= len(audio):
            return


def _resampled(frames: Iterator[AudioFrame], begin_s: float) -> Iterator[tuple[int, Samples]]:
    """Yield pieces of the audio, each with the offset of its first sample from `begin_s`."""
    resampler, offset, layout = None, -1 << 62, None
    for frame in frames:
        resumes = (frame.format.name, frame.layout.name, frame.sample_rate) == layout
        if resampler is None or not resumes:
            # A stream may change its format in the middle; the samples that the old resampler still holds come first.
            yield from _pieces(resampler, None, offset)
            resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)
            layout = (frame.format.name, frame.layout.name, frame.sample_rate)
        if frame.time is not None:
            stated = round((frame.time - begin_s) * SAMPLE_RATE_HZ)
            offset = stated if abs(stated - offset) > _GAP_SAMPLES else offset
        for piece in _pieces(resampler, frame, offset):
            yield piece
            offset += len(piece[1])
    yield from _pieces(resampler, None, offset)


def _pieces(
    resampler: av.AudioResampler | None, frame: AudioFrame | None, offset: int
) -> Iterator[tuple[int, Samples]]:
    """Yield the resampled pieces of a frame, or of the samples still held if it is None, from `offset` on."""
    for piece in resampler.resample(frame) if resampler else ():
        samples: Samples = piece.to_ndarray()[0]
        yield offset, samples
        offset += len(samples)
