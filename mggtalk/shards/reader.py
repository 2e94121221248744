"""Random access to a data set's frames, clouds and tracks through its index; decodes only what is asked for."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import UInt8, UInt16

from mggtalk.errors import ShardError
from mggtalk.records import HeadCloud, HeadFrame, QuantizedSource, SourceFrame, Split
from mggtalk.shards import schema
from mggtalk.shards.clips import ClipEntry, collect_clips
from mggtalk.shards.codecs import images, resample
from mggtalk.shards.codecs.clouds import decode_cloud
from mggtalk.shards.codecs.tracks import ClipTracks, concatenate_tracks, decode_tracks
from mggtalk.shards.index import SampleRow
from mggtalk.shards.lazy_index import LazyIndex
from mggtalk.shards.schema import CHUNK_FRAMES, SampleMeta, parse_meta
from mggtalk.shards.storage.local import Storage
from mggtalk.shards.storage.location import DEFAULT_CACHE, CacheLimits, open_storage

DecodedT = TypeVar("DecodedT")

# Rows and metadata of this many samples stay decoded; each takes some 30 kB.
_CACHED_SAMPLES = 512


@dataclass(frozen=True, slots=True)
class _Sample:
    row: SampleRow
    meta: SampleMeta
    members: Mapping[str, int]


class Shards:
    """A data set of shards on disk or behind a URL. Safe to share between threads, across a fork, and to pickle.

    Checks every member against the index's CRC-32 as it is read, because JPEG decoders overlook most damage.

    Attributes:
        root: path or URL, as it was given.
    """

    def __init__(
        self,
        root: Path | str,
        split: Split | str | None = None,
        *,
        cached_tracks: int = 64,
        cache: CacheLimits | None = DEFAULT_CACHE,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Read the labels of the index.

        Args:
            root: a directory, or a URL: `file`, `https`, `http`, `s3`, `memory`; one that ends in `.dir` is a folder as
                `dvc push` leaves it in a remote.
            split: keep only the clips of this split.
            cached_tracks: number of samples whose tracks stay in memory, some 0.6 MB each.
            cache: folder and size limit for pages fetched from a URL; None keeps nothing on disk.
            storage_options: for fsspec's file system of the URL.

        Raises:
            SchemaVersionError: written under another schema version. ShardError: no index, or it is damaged or cannot
                be reached; the URL's protocol is unknown or lacks a package.
        """
        self.root = root if isinstance(root, str) and "://" in root else Path(root)
        self._arguments = {
            "split": split,
            "cached_tracks": cached_tracks,
            "cache": cache,
            "storage_options": storage_options,
        }
        self._storage = open_storage(self.root, cache, storage_options)
        self._index = LazyIndex(self._storage)
        self._clips, self._row_indices = collect_clips(
            self._index.labels, None if split is None else Split(split), self._index.where
        )
        self._sample = lru_cache(maxsize=_CACHED_SAMPLES)(self._load_sample)
        self._tracks = lru_cache(maxsize=cached_tracks)(self._load_tracks)

    def __reduce__(self) -> tuple[Callable[..., "Shards"], tuple[Any, ...]]:
        """Pickle the location, not the open files."""
        return _reopen, (self.root, self._arguments)

    def index_sha256(self) -> str:
        """Return the hash of the index, which contains the hash of every sample: equal hashes mean equal data.

        Raises:
            ShardError: the index cannot be read.
        """
        return self._index.sha256()

    def clips(self, split: Split | str | None = None) -> tuple[ClipEntry, ...]:
        """Return the clips of `split` (of all splits if None), sorted by clip id."""
        wanted = None if split is None else Split(split)
        return tuple(clip for clip in self._clips.values() if wanted is None or clip.split is wanted)

    def clip(self, clip_id: str) -> ClipEntry:
        """Return one clip.

        Raises:
            ShardError: there is no such clip.
        """
        try:
            return self._clips[clip_id]
        except KeyError:
            raise ShardError(f"{self.root}: no clip {clip_id!r} among {len(self._clips)}") from None

    def meta(self, clip_id: str, frame: int = 0) -> SampleMeta:
        """Return the metadata of the sample that holds frame `frame` of the clip."""
        return self._locate(clip_id, frame)[0].meta

    def image(self, clip_id: str, frame: int) -> UInt8[np.ndarray, "size size 3"]:
        """Return the RGB crop of frame `frame` of the clip at its stored size.

        Raises:
            ShardError: no such clip; a member is missing, truncated or damaged (so in all methods that read frames).
            IndexError: the clip has no such frame.
        """
        sample, local = self._locate(clip_id, frame)
        return self._decode(sample, schema.rgb_member(local), images.decode_rgb)

    def head_frame(self, clip_id: str, frame: int, size: int | None = None) -> HeadFrame:
        """Return frame `frame` of the clip, resampled to `size` (at most the stored size, which None keeps).

        Raises:
            As `image`; ValueError: `size` is not from 1 to the stored size.
        """
        sample, local = self._locate(clip_id, frame)
        size = _check_size(sample, size)
        scale = size / sample.meta.size
        tracks = self._tracks(clip_id, frame // CHUNK_FRAMES)
        return HeadFrame(
            image=resample.resize_image(self._decode(sample, schema.rgb_member(local), images.decode_rgb), size),
            head_mask=resample.resize_mask(self._decode(sample, schema.head_member(local), images.decode_mask), size),
            valid=resample.valid_mask(sample.meta.valid_box, sample.meta.size, size),
            landmarks_px=tracks.landmarks_px[local] * np.float32(scale),
            landmarks=tracks.landmarks[local],
            expression=tracks.expression[local],
            head_to_camera=tracks.head_to_camera[local],
            intrinsics=resample.scale_intrinsics(np.array(sample.meta.intrinsics, np.float32), scale),
        )

    def source_frame(self, clip_id: str, frame: int, size: int | None = None) -> SourceFrame:
        """Return a frame that has geometry (see `ClipEntry.source_frames`), resampled to `size`.

        Raises:
            As `head_frame`; ShardError: the frame has no geometry.
        """
        stored, head = self._stored_geometry(clip_id, frame), self.head_frame(clip_id, frame, size)
        depth = images.depth_of_units(stored[0], stored[1])
        normals = images.normals_of_colors(stored[2])
        resized = len(head.image)
        return SourceFrame(head, resample.resize_depth(depth, resized), resample.resize_normals(normals, resized))

    def quantized_source(self, clip_id: str, frame: int) -> QuantizedSource:
        """Return a frame that has geometry at the stored size, with depth and normals as the stored integers.

        Raises:
            As `source_frame`.
        """
        stored = self._stored_geometry(clip_id, frame)
        return QuantizedSource(self.head_frame(clip_id, frame), *stored)

    def cloud(self, clip_id: str, frame: int) -> HeadCloud:
        """Return the cloud of a frame that has geometry; its `source_pixel` are pixels of the stored size.

        Raises:
            As `source_frame`.
        """
        sample, local = self._locate(clip_id, frame)
        return self._decode(sample, schema.cloud_member(local), decode_cloud)

    def tracks(self, clip_id: str) -> ClipTracks:
        """Return the tracks of the whole clip, in pixels of the stored size.

        Raises:
            As `image`.
        """
        num_chunks = len(self._row_indices[self.clip(clip_id).clip_id])
        return concatenate_tracks([self._tracks(clip_id, chunk) for chunk in range(num_chunks)])

    def member(self, clip_id: str, frame: int, name: str) -> bytes:
        """Return the bytes of member `name` of the sample that holds frame `frame`.

        Raises:
            As `image`.
        """
        return self._read(self._locate(clip_id, frame)[0], name)

    def sample_tracks(self, clip_id: str, frame: int) -> tuple[ClipTracks, int]:
        """Return the tracks of the sample that holds frame `frame` of the clip, and the frame's index in them.

        Raises:
            As `image`.
        """
        _, local = self._locate(clip_id, frame)
        return self._tracks(clip_id, frame // CHUNK_FRAMES), local

    def audio(self, clip_id: str, frame: int) -> bytes | None:
        """Return the FLAC file of the sample that holds frame `frame`; None without audio (`meta` has the reason)."""
        sample, _ = self._locate(clip_id, frame)
        return self._read(sample, schema.AUDIO_MEMBER) if schema.AUDIO_MEMBER in sample.members else None

    def _stored_geometry(
        self, clip_id: str, frame: int
    ) -> tuple[UInt16[np.ndarray, "size size"], float, UInt8[np.ndarray, "size size 3"]]:
        sample, local = self._locate(clip_id, frame)
        scale = dict(zip(sample.meta.source_frames, sample.meta.depth_scale, strict=True)).get(local, 0.0)
        units = self._decode(sample, schema.depth_member(local), images.decode_depth_units)
        return units, scale, self._decode(sample, schema.normal_member(local), images.decode_rgb)

    def _locate(self, clip_id: str, frame: int) -> tuple[_Sample, int]:
        num_frames = self.clip(clip_id).num_frames
        if not 0 <= frame < num_frames:
            raise IndexError(f"{clip_id}: frame {frame} of a clip of {num_frames}")
        return self._sample(clip_id, frame // CHUNK_FRAMES), frame % CHUNK_FRAMES

    def _load_sample(self, clip_id: str, chunk: int) -> _Sample:
        row = self._index.row(self._row_indices[clip_id][chunk])
        members = {name: index for index, name in enumerate(row.member_names)}
        data = _read_member(self._storage, row, members, schema.META_MEMBER)
        try:
            meta = parse_meta(data, _where(row, schema.META_MEMBER))
        except ShardError as error:
            error.shard, error.sample, error.member = row.shard, row.key, schema.META_MEMBER
            raise
        return _Sample(row, meta, members)

    def _load_tracks(self, clip_id: str, chunk: int) -> ClipTracks:
        return self._decode(self._sample(clip_id, chunk), schema.TRACKS_MEMBER, decode_tracks)

    def _decode(self, sample: _Sample, member: str, decoder: Callable[[bytes], DecodedT]) -> DecodedT:
        data = self._read(sample, member)
        try:
            return decoder(data)
        except ValueError as cause:
            raise _error(sample.row, member, str(cause)) from None

    def _read(self, sample: _Sample, member: str) -> bytes:
        return _read_member(self._storage, sample.row, sample.members, member)


def _reopen(root: Path | str, arguments: Mapping[str, Any]) -> Shards:
    return Shards(root, **arguments)


def _check_size(sample: _Sample, size: int | None) -> int:
    if size is None:
        return sample.meta.size
    if not 0 < size <= sample.meta.size:
        raise ValueError(f"{sample.row.key}: size: got {size}, expected 1 to the stored size, {sample.meta.size}")
    return size


def _where(row: SampleRow, member: str) -> str:
    return f"shard {row.shard}: sample {row.key}: member {member}"


def _error(row: SampleRow, member: str, what: str) -> ShardError:
    return ShardError(f"{_where(row, member)}: {what}", shard=row.shard, sample=row.key, member=member)


def _read_member(storage: Storage, row: SampleRow, members: Mapping[str, int], member: str) -> bytes:
    if member not in members:
        # The sample is intact, the request is wrong: the error does not blame the sample, so no policy skips it.
        where = _where(row, member)
        raise ShardError(f"{where}: missing; the sample has geometry for its frames {list(row.source_frames)}")
    index = members[member]
    try:
        data = storage.read_member(row, index)
    except ConnectionError as cause:  # a server that does not answer is no corrupt sample: nothing is skipped for it
        raise ShardError(f"{_where(row, member)}: cannot be read: {cause}") from None
    except OSError as cause:
        raise _error(row, member, f"cannot be read: {cause}") from None
    if len(data) != row.member_sizes[index]:
        raise _error(row, member, f"truncated: got {len(data)} of {row.member_sizes[index]} bytes")
    if zlib.crc32(data) != row.member_crc32[index]:
        raise _error(row, member, "damaged: its CRC-32 is not the index's")
    return data
