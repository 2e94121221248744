"""Decodes a member and compares it to the sample's metadata: sizes, types, finite numbers."""

import io
import math
from collections.abc import Callable, Mapping

import av
import numpy as np

from mggtalk.shards.codecs.clouds import decode_cloud
from mggtalk.shards.codecs.images import decode_depth, decode_mask, decode_normals, decode_rgb
from mggtalk.shards.codecs.tracks import TRACK_ARRAYS, decode_tracks
from mggtalk.shards.schema import AUDIO_MEMBER, TRACKS_MEMBER, SampleMeta

_SAMPLE_RATE_HZ = 16_000


def check_member(name: str, data: bytes, meta: SampleMeta) -> None:
    """Decode the member `name` (not `meta.json`) of a sample.

    Raises:
        ValueError: it cannot be decoded, or does not fit `meta`.
    """
    if name == TRACKS_MEMBER:
        _check_tracks(data, meta)
    elif name == AUDIO_MEMBER:
        _check_audio(data, meta)
    else:
        frame, _, kind = name.partition(".")
        _FRAME_CHECKS[kind](data, meta, int(frame))


def _check_rgb(data: bytes, meta: SampleMeta, _: int) -> None:
    _check_shape(decode_rgb(data), (meta.size, meta.size, 3))


def _check_head(data: bytes, meta: SampleMeta, _: int) -> None:
    _check_shape(decode_mask(data), (meta.size, meta.size))


def _check_depth(data: bytes, meta: SampleMeta, frame: int) -> None:
    scales = dict(zip(meta.source_frames, meta.depth_scale, strict=False))
    scale = scales.get(frame, math.nan)
    if not scale > 0:
        raise ValueError(f"no depth scale above 0 in `meta.json`: {list(meta.depth_scale)}")
    _check_shape(decode_depth(data, scale), (meta.size, meta.size))


def _check_normals(data: bytes, meta: SampleMeta, _: int) -> None:
    _check_shape(decode_normals(data), (meta.size, meta.size, 3))


def _check_cloud(data: bytes, meta: SampleMeta, _: int) -> None:
    cloud = decode_cloud(data)
    _check_finite("positions", cloud.positions)
    if cloud.source_pixel.size and not (0 <= cloud.source_pixel.min() <= cloud.source_pixel.max() < meta.size):
        raise ValueError(f"source_pixel: expected 0 to {meta.size - 1}")


_FRAME_CHECKS: Mapping[str, Callable[[bytes, SampleMeta, int], None]] = {
    "rgb.jpg": _check_rgb,
    "head.png": _check_head,
    "depth.png": _check_depth,
    "normal.png": _check_normals,
    "cloud.npz": _check_cloud,
}


def _check_tracks(data: bytes, meta: SampleMeta) -> None:
    tracks = decode_tracks(data)
    if tracks.num_frames != meta.num_frames:
        raise ValueError(f"tracks of {tracks.num_frames} frames, expected {meta.num_frames}")
    if tracks.expression.shape[1] != len(meta.expression_names):
        raise ValueError(f"expression: {tracks.expression.shape[1]} numbers, expected {len(meta.expression_names)}")
    for name in TRACK_ARRAYS:
        _check_finite(name, getattr(tracks, name))


def _check_audio(data: bytes, meta: SampleMeta) -> None:
    first, stop = (
        round(frame / meta.fps * _SAMPLE_RATE_HZ) for frame in (meta.start_frame, meta.start_frame + meta.num_frames)
    )
    try:
        with av.open(io.BytesIO(data), "r", format="flac") as container:
            stream = container.streams.audio[0]
            kind = (stream.rate, stream.layout.name)
            num_samples = sum(frame.samples for frame in container.decode(stream))
    except (av.FFmpegError, IndexError) as cause:
        raise ValueError(f"cannot be decoded as FLAC: {cause}") from None
    if kind != (_SAMPLE_RATE_HZ, "mono"):
        raise ValueError(f"audio of {kind[0]} Hz, {kind[1]}; expected {_SAMPLE_RATE_HZ} Hz, mono")
    if num_samples != stop - first:
        raise ValueError(f"{num_samples} audio samples, expected {stop - first}")


def _check_shape(image: np.ndarray, expected: tuple[int, ...]) -> None:
    if image.shape != expected:
        raise ValueError(f"got shape {image.shape}, expected {expected}")


def _check_finite(name: str, array: np.ndarray) -> None:
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: not finite")
