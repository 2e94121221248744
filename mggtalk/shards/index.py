"""Writes and reads `index.parquet`: one row per sample, with all that is needed to find, read and check it."""

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mggtalk.errors import ShardError
from mggtalk.files import atomic_path
from mggtalk.records import AudioState, Split
from mggtalk.shards.schema import INDEX_NAME, SCHEMA_VERSION, check_version

_VERSION_KEY = b"mggtalk.schema_version"

# Small groups let a reader load only the rows that it needs; members make up most of a row.
_ROWS_PER_GROUP = 1024


@dataclass(frozen=True, slots=True)
class SampleRow:
    """Location, labels, hashes and quality of a sample.

    Attributes:
        shard: path relative to the data set's root, with `/`.
        source_frames: within the sample.
        audio, audio_dbfs: as in `schema.SampleMeta`.
        offset, size_bytes: the sample's byte range in the shard: tar headers, data and padding of all its members.
        sha256: of that range.
        member_offsets: of each member's data in the shard. member_crc32: of its data.
        mean_sharpness, mean_face_size: quality; as in `records.ClipTrack`, over the sample's frames.
    """

    key: str
    shard: str
    clip_id: str
    video_id: str
    identity: str
    license: str
    split: Split
    fps: float
    start_frame: int
    num_frames: int
    clip_num_frames: int
    source_frames: tuple[int, ...]
    audio: AudioState
    audio_dbfs: float | None
    offset: int
    size_bytes: int
    sha256: str
    member_names: tuple[str, ...]
    member_offsets: tuple[int, ...]
    member_sizes: tuple[int, ...]
    member_crc32: tuple[int, ...]
    mean_sharpness: float
    mean_face_size: float

    def relocated(self, shard: str, offset: int) -> "SampleRow":
        """Return the row of the same bytes after they were copied to `offset` of `shard`."""
        shift = offset - self.offset
        member_offsets = tuple(member + shift for member in self.member_offsets)
        return dataclasses.replace(self, shard=shard, offset=offset, member_offsets=member_offsets)


_SCHEMA = pa.schema(
    {
        "key": pa.string(),
        "shard": pa.string(),
        "clip_id": pa.string(),
        "video_id": pa.string(),
        "identity": pa.string(),
        "license": pa.string(),
        "split": pa.string(),
        "fps": pa.float64(),
        "start_frame": pa.int32(),
        "num_frames": pa.int32(),
        "clip_num_frames": pa.int32(),
        "source_frames": pa.list_(pa.int32()),
        "audio": pa.string(),
        "audio_dbfs": pa.float64(),
        "offset": pa.int64(),
        "size_bytes": pa.int64(),
        "sha256": pa.string(),
        "member_names": pa.list_(pa.string()),
        "member_offsets": pa.list_(pa.int64()),
        "member_sizes": pa.list_(pa.int64()),
        "member_crc32": pa.list_(pa.uint32()),
        "mean_sharpness": pa.float32(),
        "mean_face_size": pa.float32(),
    },
    metadata={_VERSION_KEY: str(SCHEMA_VERSION).encode()},
)


def write_index(root: Path, rows: Iterable[SampleRow]) -> Path:
    """Write `index.parquet` under `root`, sorted by key, and return its path; equal rows give equal bytes."""
    ordered = sorted(rows, key=lambda row: row.key)
    columns = {name: [getattr(row, name) for row in ordered] for name in _SCHEMA.names}
    return write_table(root, pa.table(columns, schema=_SCHEMA))


def write_table(root: Path, table: pa.Table) -> Path:
    """Write rows that `read_index` returned, or some of them, as `write_index` does; equal rows give equal bytes."""
    # A table that was read comes in chunks, and its fields carry Parquet's field ids.
    columns = table.sort_by("key").combine_chunks().columns
    with atomic_path(root / INDEX_NAME) as partial:
        pq.write_table(
            pa.Table.from_arrays(columns, schema=_SCHEMA),
            partial,
            compression="zstd",
            row_group_size=_ROWS_PER_GROUP,
            write_page_checksum=True,  # otherwise a flipped bit in a label would be read as another label
        )
    return root / INDEX_NAME


def read_index(root: Path) -> pa.Table:
    """Return `index.parquet` of the data set at `root`.

    Raises:
        SchemaVersionError: written under another schema version. ShardError: missing or damaged.
    """
    path = root / INDEX_NAME
    if not path.is_file():
        raise ShardError(f"{path}: no such file; it is written last, so writing these shards may not have finished")
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            check_schema(file.schema_arrow, str(path))
            return file.read()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as cause:
        raise ShardError(f"{path}: damaged: {' '.join(str(cause).split())}") from None


def check_schema(schema: pa.Schema, where: str) -> None:
    """Check that an index has the columns of this reader's schema version.

    Raises:
        SchemaVersionError: written under another schema version. ShardError: the columns differ.
    """
    version = (schema.metadata or {}).get(_VERSION_KEY, b"none").decode()
    check_version(int(version) if version.isdigit() else version, where)
    if schema != _SCHEMA:
        missing = sorted(set(_SCHEMA.names) ^ set(schema.names)) or "types"
        raise ShardError(f"{where}: columns differ from schema version {SCHEMA_VERSION}: {missing}")


def iterate_rows(table: pa.Table) -> Iterator[SampleRow]:
    """Yield the rows of an index table."""
    for row in range(len(table)):
        yield row_at(table, row)


def row_at(table: pa.Table, index: int) -> SampleRow:
    """Return the row at `index` of an index table."""
    values: dict[str, Any] = table.slice(index, 1).to_pylist()[0]
    lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    enums = {"split": Split(values["split"]), "audio": AudioState(values["audio"])}
    return SampleRow(**{**values, **lists, **enums})
