"""Stages one clip's samples as a small tar on disk, from which shards are assembled by copying bytes.

Tars are plain ustar with owner 0, mode 0644 and time 0, so that equal samples give equal bytes. A staged clip may also
lie in a finished shard, even one that is about to be replaced; its rows have the offsets.
"""

import hashlib
import tarfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mggtalk.errors import ShardError
from mggtalk.files import atomic_path
from mggtalk.records import ShardSample
from mggtalk.shards.codecs.arrays import load_arrays
from mggtalk.shards.index import SampleRow
from mggtalk.shards.schema import (
    META_MEMBER,
    TRACKS_MEMBER,
    SampleMeta,
    dump_meta,
    member_names,
    parse_meta,
)

# The two zero blocks that end a tar.
TAR_END = bytes(2 * tarfile.BLOCKSIZE)


@dataclass(frozen=True, slots=True)
class StagedClip:
    """All samples of one clip, at the offsets in `rows` of the tar at `path`."""

    path: Path
    rows: tuple[SampleRow, ...]

    @property
    def clip_id(self) -> str:
        """Id of the clip."""
        return self.rows[0].clip_id

    @property
    def size_bytes(self) -> int:
        """Number of bytes that the clip takes in a shard."""
        return sum(row.size_bytes for row in self.rows)


def write_staged_clip(path: Path, samples: Iterable[ShardSample]) -> StagedClip:
    """Write the samples of one clip, in the order of its frames, to a tar that appears whole at `path`.

    Only one sample at a time is in memory if `samples` is lazy.

    Raises:
        ValueError: no samples, or of several clips; a chunk is missing or out of order; members do not fit the schema.
    """
    with atomic_path(path) as partial:
        with partial.open("wb") as file:
            rows = [_write_sample(file, sample) for sample in samples]
            file.write(TAR_END)
        _check_clip(rows)
    return StagedClip(path, tuple(rows))


def open_staged(path: Path) -> StagedClip:
    """Read and hash a tar that `write_staged_clip` wrote, and return its clip.

    Raises:
        ShardError: the tar is truncated or damaged, or does not hold the samples of one clip.
    """
    rows = tuple(scan_tar(path))
    try:
        _check_clip(rows)
    except ValueError as cause:
        raise ShardError(f"{path}: {cause}") from None
    return StagedClip(path, rows)


def scan_tar(path: Path) -> Iterator[SampleRow]:
    """Yield the row of every sample in a staged tar or a shard, from its bytes alone; `shard` stays empty.

    Raises:
        ShardError: the tar is truncated or damaged.
    """
    try:
        with tarfile.open(path, "r:") as archive, path.open("rb") as file:
            samples: defaultdict[str, dict[str, tarfile.TarInfo]] = defaultdict(dict)
            for member in archive:
                key, _, name = member.name.partition(".")
                samples[key][name] = member
            for key, members in samples.items():
                yield _scan_sample(file, key, members, path)
    except (tarfile.TarError, OSError) as cause:
        raise ShardError(f"{path}: cannot be read as a tar: {cause}") from None


def tar_entry(name: str, data: bytes) -> bytes:
    """Return header, data and padding of one tar member.

    Raises:
        ValueError: the name does not fit ustar's 100 bytes.
    """
    return tar_header(name, len(data)) + data + bytes(-len(data) % tarfile.BLOCKSIZE)


def tar_header(name: str, size_bytes: int) -> bytes:
    """Return the header of a tar member.

    Raises:
        ValueError: the name does not fit ustar's 100 bytes.
    """
    if len(name) > tarfile.LENGTH_NAME or not name.isascii():
        raise ValueError(f"tar member {name!r}: expected at most {tarfile.LENGTH_NAME} ASCII characters")
    header = tarfile.TarInfo(name)
    header.size = size_bytes
    return header.tobuf(tarfile.USTAR_FORMAT)


def sample_row(
    meta: SampleMeta, contents: dict[str, bytes], offsets: list[int], start: int, size_bytes: int, sha256: str
) -> SampleRow:
    """Return the row of a sample, with an empty `shard`.

    Args:
        contents, offsets: bytes of its members by name, and their offsets, in the order of the tar.
        start, size_bytes, sha256: of the sample's byte range.

    Raises:
        ValueError: `tracks.npz` is damaged.
    """
    quality = load_arrays(contents[TRACKS_MEMBER], ("sharpness", "face_size"))
    return SampleRow(
        key=meta.key,
        shard="",
        clip_id=meta.clip_id,
        video_id=meta.video_id,
        identity=meta.identity,
        license=meta.license,
        split=meta.split,
        fps=meta.fps,
        start_frame=meta.start_frame,
        num_frames=meta.num_frames,
        clip_num_frames=meta.clip_num_frames,
        source_frames=meta.source_frames,
        audio=meta.audio,
        audio_dbfs=meta.audio_dbfs,
        offset=start,
        size_bytes=size_bytes,
        sha256=sha256,
        member_names=tuple(contents),
        member_offsets=tuple(offsets),
        member_sizes=tuple(len(data) for data in contents.values()),
        member_crc32=tuple(zlib.crc32(data) for data in contents.values()),
        mean_sharpness=float(np.mean(quality["sharpness"], dtype=np.float32)),
        mean_face_size=float(np.mean(quality["face_size"], dtype=np.float32)),
    )


def _write_sample(file: BinaryIO, sample: ShardSample) -> SampleRow:
    meta = SampleMeta(**sample.meta)
    expected = member_names(meta.num_frames, meta.source_frames, has_audio=meta.audio.has_member)
    if set(sample.members) != set(expected):
        differing = sorted(set(sample.members) ^ set(expected))
        raise ValueError(f"{sample.key}: members missing or not in schema: {', '.join(differing)}")
    contents = {META_MEMBER: dump_meta(meta.to_mapping()), **{name: sample.members[name] for name in expected}}
    start, digest, offsets = file.tell(), hashlib.sha256(), []
    for name, data in contents.items():
        offsets.append(file.tell() + tarfile.BLOCKSIZE)
        entry = tar_entry(f"{sample.key}.{name}", data)
        digest.update(entry)
        file.write(entry)
    return sample_row(meta, contents, offsets, start, file.tell() - start, digest.hexdigest())


def _scan_sample(file: BinaryIO, key: str, members: dict[str, tarfile.TarInfo], path: Path) -> SampleRow:
    where = f"{path}: sample {key}"
    contents = {name: _read_at(file, member.offset_data, member.size, where) for name, member in members.items()}
    if META_MEMBER not in contents:
        raise ShardError(f"{where}: no {META_MEMBER}")
    meta = parse_meta(contents[META_MEMBER], f"{where}: {META_MEMBER}")
    # tarfile takes a damaged header for the end of the tar, so compare with the members that the schema requires.
    expected = (META_MEMBER, *member_names(meta.num_frames, meta.source_frames, has_audio=meta.audio.has_member))
    if tuple(contents) != expected:
        differing = sorted(set(contents) ^ set(expected)) or ["in another order"]
        raise ShardError(f"{where}: members missing or not in schema: {', '.join(differing)}")
    start, last = members[META_MEMBER].offset, list(members.values())[-1]
    size_bytes = last.offset_data + last.size + -last.size % tarfile.BLOCKSIZE - start
    digest = hashlib.sha256(_read_at(file, start, size_bytes, where)).hexdigest()
    offsets = [member.offset_data for member in members.values()]
    try:
        return sample_row(meta, contents, offsets, start, size_bytes, digest)
    except ValueError as cause:
        raise ShardError(f"{where}: {TRACKS_MEMBER}: {cause}") from None


def _read_at(file: BinaryIO, offset: int, size: int, where: str) -> bytes:
    file.seek(offset)
    data = file.read(size)
    if len(data) != size:
        raise ShardError(f"{where}: truncated: got {len(data)} of {size} bytes at {offset}")
    return data


def _check_clip(rows: Iterable[SampleRow]) -> None:
    rows = list(rows)
    if len({(row.clip_id, row.split) for row in rows}) != 1:
        raise ValueError(f"expected samples of one clip, got {sorted({row.clip_id for row in rows})}")
    next_frame = 0
    for row in rows:
        if row.start_frame != next_frame:
            raise ValueError(f"{row.key}: begins at frame {row.start_frame} of the clip, expected {next_frame}")
        next_frame += row.num_frames
    if next_frame != rows[0].clip_num_frames:
        raise ValueError(f"{rows[0].clip_id}: got {next_frame} frames, expected {rows[0].clip_num_frames}")
