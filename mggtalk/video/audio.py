"""The sound of an interval of a video, in step with its frames, as FLAC: what speech models take, 16 kHz mono."""

import io
import math
from collections.abc import Iterator
from itertools import chain

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from jaxtyping import Int16

from mggtalk.errors import VideoError
from mggtalk.video.container import INDEXED_CONTAINERS, container_start_s, open_container

SAMPLE_RATE_HZ = 16_000

# Lossy codecs need some packets before their sound is right, and resampling some samples.
_PREROLL_S = 1.0
# Timestamps jitter by the container's clock; only what is longer is a real gap, and is filled with silence.
_GAP_SAMPLES = SAMPLE_RATE_HZ // 20
_BLOCK_SAMPLES = 4096

Samples = Int16[np.ndarray, " num_samples"]


def extract_audio(path: str, start_s: float, end_s: float) -> bytes | None:
    """Return the sound from `start_s` to `end_s` as a FLAC file, or None where the video has no sound stream.

    The clock is that of `open_video`: seconds from the start of the container. The result has exactly
    `round((end_s - start_s) * 16000)` samples; where the stream has no sound, they are silent. Same video, same bytes.

    Raises:
        VideoError: the sound cannot be decoded.
        ValueError: the interval is empty or has no end.
    """
    if not 0 <= start_s < end_s < math.inf:
        raise ValueError(f"interval from {start_s} to {end_s} s; expected 0 <= start < end < infinity")
    num_samples = round((end_s - start_s) * SAMPLE_RATE_HZ)
    with open_container(path) as container:
        if not container.streams.audio:
            return None
        pieces = _placed_samples(container, container.streams.audio[0], start_s, num_samples, path)
        return _encode_flac(_contiguous(pieces, num_samples))


def _placed_samples(
    container: InputContainer, stream: AudioStream, begin_s: float, num_samples: int, path: str
) -> Iterator[tuple[int, Samples]]:
    """Yield resampled pieces of the stream, each with the place of its first sample, counted from `begin_s`."""
    origin_s = container_start_s(container)
    if begin_s > _PREROLL_S and container.format.name in INDEXED_CONTAINERS and stream.time_base:
        container.seek(int((begin_s + origin_s - _PREROLL_S) / stream.time_base), stream=stream)
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)
    place = -1 << 62
    for frame in chain(container.decode(stream), [None]):  # None flushes the resampler
        if frame is not None and frame.time is not None:
            stated = round((frame.time - origin_s - begin_s) * SAMPLE_RATE_HZ)
            place = stated if abs(stated - place) > _GAP_SAMPLES else place
        try:
            resampled = resampler.resample(frame)
        except ValueError as cause:
            raise VideoError(f"{path}: its sound changes format in the middle") from cause
        for piece in resampled:
            yield place, piece.to_ndarray()[0]
            place += piece.samples
        if place >= num_samples:
            return


def _contiguous(pieces: Iterator[tuple[int, Samples]], num_samples: int) -> Iterator[Samples]:
    """Yield exactly `num_samples` samples: pieces in their places, silence between and after them."""
    done = 0
    for place, samples in pieces:
        wanted = samples[max(done - place, 0) : max(num_samples - place, 0)]
        if wanted.size:
            yield from _silence(place - done)
            yield wanted
            done = max(place, done) + len(wanted)
    yield from _silence(num_samples - done)


def _silence(num_samples: int) -> Iterator[Samples]:
    for start in range(0, num_samples, _BLOCK_SAMPLES):
        yield np.zeros(min(_BLOCK_SAMPLES, num_samples - start), np.int16)


def _encode_flac(blocks: Iterator[Samples]) -> bytes:
    target = io.BytesIO()
    # Bit-exact: without FFmpeg's version in the tags.
    with av.open(target, "w", format="flac", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("flac", rate=SAMPLE_RATE_HZ, layout="mono")
        stream.codec_context.format = "s16"
        for block in blocks:
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block[None]), format="s16", layout="mono")
            frame.sample_rate = SAMPLE_RATE_HZ
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return target.getvalue()
