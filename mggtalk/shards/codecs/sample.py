"""Encodes one chunk of a clip as a sample."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from mggtalk.records import HeadCloud, ShardSample
from mggtalk.shards import schema
from mggtalk.shards.codecs.clouds import encode_cloud
from mggtalk.shards.codecs.images import encode_depth, encode_mask, encode_normals, encode_rgb
from mggtalk.shards.codecs.tracks import ClipTracks, encode_tracks
from mggtalk.shards.schema import SampleMeta


@dataclass(frozen=True, slots=True, eq=False)
class SourceGeometry:
    """Geometry of a source frame.

    Attributes:
        depth: z in the camera frame in cm, 0 where unknown.
        normals: unit, camera frame, towards the camera (z < 0); (0, 0, 0) where unknown.
    """

    depth: Float32[np.ndarray, "size size"]
    normals: Float32[np.ndarray, "size size 3"]
    cloud: HeadCloud


def encode_sample(
    meta: SampleMeta,
    rgb: UInt8[np.ndarray, "num_frames size size 3"],
    head_masks: Bool[np.ndarray, "num_frames size size"],
    tracks: ClipTracks,
    sources: Mapping[int, SourceGeometry],
    audio: bytes | None,
    *,
    jpeg_quality: int = 95,
) -> ShardSample:
    """Return the sample of one chunk.

    Args:
        meta: the sample's metadata; `depth_scale` is set here.
        sources: geometry by the frame's index within the sample; its keys are `meta.source_frames`.
        audio: the chunk's audio as FLAC, or None where `meta.audio` says that there is none.

    Raises:
        ValueError: the arrays do not fit `meta` or each other.
    """
    _check_shapes(meta, rgb, head_masks, tracks, sources)
    if (audio is not None) != meta.audio.has_member:
        raise ValueError(f"{meta.key}: audio: got {'none' if audio is None else 'some'}, but `audio` is {meta.audio!s}")
    depths = {frame: encode_depth(sources[frame].depth) for frame in meta.source_frames}
    meta = dataclasses.replace(meta, depth_scale=tuple(scale for _, scale in depths.values()))
    encoded = {schema.TRACKS_MEMBER: encode_tracks(tracks)}
    if audio is not None:
        encoded[schema.AUDIO_MEMBER] = audio
    for frame in range(meta.num_frames):
        encoded[schema.rgb_member(frame)] = encode_rgb(rgb[frame], jpeg_quality)
        encoded[schema.head_member(frame)] = encode_mask(head_masks[frame])
    for frame, (depth, _) in depths.items():
        encoded[schema.depth_member(frame)] = depth
        encoded[schema.normal_member(frame)] = encode_normals(sources[frame].normals)
        encoded[schema.cloud_member(frame)] = encode_cloud(sources[frame].cloud)
    names = schema.member_names(meta.num_frames, meta.source_frames, has_audio=meta.audio.has_member)
    return ShardSample(
        key=meta.key,
        clip_id=meta.clip_id,
        video_id=meta.video_id,
        identity=meta.identity,
        license=meta.license,
        split=meta.split,
        num_frames=meta.num_frames,
        source_frames=meta.source_frames,
        members={name: encoded[name] for name in names},
        meta=meta.to_mapping(),
    )


def _check_shapes(
    meta: SampleMeta,
    rgb: np.ndarray,
    head_masks: np.ndarray,
    tracks: ClipTracks,
    sources: Mapping[int, SourceGeometry],
) -> None:
    square = (meta.size, meta.size)
    arrays = {"rgb": (rgb, (meta.num_frames, *square, 3)), "head_masks": (head_masks, (meta.num_frames, *square))}
    for frame, source in sources.items():
        arrays[f"sources[{frame}].depth"] = (source.depth, square)
        arrays[f"sources[{frame}].normals"] = (source.normals, (*square, 3))
    for name, (array, expected) in arrays.items():
        if array.shape != expected:
            raise ValueError(f"{meta.key}: {name}: got shape {array.shape}, expected {expected}")
    if tracks.num_frames != meta.num_frames:
        raise ValueError(f"{meta.key}: tracks: got {tracks.num_frames} frames, expected {meta.num_frames}")
    if tracks.expression.shape[1] != len(meta.expression_names):
        raise ValueError(
            f"{meta.key}: tracks: got {tracks.expression.shape[1]} coefficients, "
            f"expected {len(meta.expression_names)}, one for each of expression_names"
        )
    if set(sources) != set(meta.source_frames):
        raise ValueError(f"{meta.key}: sources: got frames {sorted(sources)}, expected {meta.source_frames}")
