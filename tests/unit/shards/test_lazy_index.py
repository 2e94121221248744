"""The lazy index gives the rows of the whole index, and reads only the parts that are needed."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mggtalk.errors import SchemaVersionError, ShardError
from mggtalk.shards import SampleRow, Shards, read_index, write_index
from mggtalk.shards.index import row_at
from mggtalk.shards.lazy_index import LazyIndex
from mggtalk.shards.storage.local import LocalStorage
from tests.support.shard_samples import make_clip

NUM_CLIPS, NUM_MEMBERS = 1500, 100


class CountingStorage(LocalStorage):
    """Counts the bytes that are read."""

    num_bytes = 0

    def read_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        self.num_bytes += sum(size for _, size in ranges)
        return super().read_ranges(name, ranges)


def rows_of_many_clips(row: SampleRow) -> list[SampleRow]:
    """Return rows of clips of two samples each, with distinct values; three row groups."""
    rows = []
    for clip in range(NUM_CLIPS):
        for chunk in range(2):
            clip_id = f"{clip * 7919 % 2**32:016x}-f000000"
            number = 2 * clip + chunk
            values = tuple(1000 * number + member for member in range(NUM_MEMBERS))
            rows.append(
                dataclasses.replace(
                    row,
                    key=f"{clip_id}-{chunk:04d}",
                    clip_id=clip_id,
                    start_frame=64 * chunk,
                    num_frames=64,
                    clip_num_frames=128,
                    source_frames=tuple(range(chunk, 64, 1 + clip % 64)),
                    member_names=tuple(f"{member:03d}" for member in range(NUM_MEMBERS)),
                    member_offsets=values,
                    member_sizes=values,
                    member_crc32=values,
                )
            )
    return rows


@pytest.fixture
def row(tmp_path, write_dataset) -> SampleRow:
    (row,) = write_dataset(tmp_path / "one", [make_clip("ab" * 8)])
    return row  # type: ignore[no-any-return]


@pytest.fixture
def root(tmp_path: Path, row: SampleRow) -> Path:
    write_index(tmp_path / "many", rows_of_many_clips(row))
    return tmp_path / "many"


def test_rows_and_clips_are_those_of_the_whole_index(root):
    table, index = read_index(root), LazyIndex(LocalStorage(root))
    assert len(index.labels) == len(table) == 2 * NUM_CLIPS
    for number in (0, 1, 1023, 1024, 2047, 2048, 2 * NUM_CLIPS - 1):
        assert index.row(number) == row_at(table, number)
    clips = Shards(root).clips()
    assert [clip.clip_id for clip in clips] == sorted(set(table["clip_id"].to_pylist()))
    for clip in clips[::100]:
        rows = [
            row_at(table, number) for number in range(len(table)) if table["clip_id"][number].as_py() == clip.clip_id
        ]
        frames = [row.start_frame + frame for row in rows for frame in row.source_frames]
        assert (clip.num_frames, list(clip.source_frames)) == (128, frames)


def test_little_is_read_until_it_is_asked_for(root):
    storage = CountingStorage(root)
    size = storage.size("index.parquet")
    index = LazyIndex(storage)
    assert storage.num_bytes < 0.1 * size
    index.row(1500)
    assert storage.num_bytes < 0.6 * size
    before = storage.num_bytes
    index.row(1600)
    assert storage.num_bytes == before  # the same group


def test_a_sample_that_is_missing_is_named(tmp_path, row):
    rows = rows_of_many_clips(row)
    write_index(tmp_path / "hole", [*rows[:100], *rows[101:]])
    with pytest.raises(ShardError, match=rf"clip {rows[100].clip_id}: samples missing: got those at frames \[64\]"):
        Shards(tmp_path / "hole")
    write_index(tmp_path / "end", [*rows[:101], *rows[102:]])
    with pytest.raises(ShardError, match=rf"clip {rows[101].clip_id}: samples missing: got those at frames \[0\]"):
        Shards(tmp_path / "end")


def test_an_index_that_was_replaced_is_not_mixed_with_the_old_one(root, row):
    class Reopening(LocalStorage):
        """Opens the file anew, as a server does."""

        def read_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
            return LocalStorage(root).read_ranges(name, ranges)

    index = LazyIndex(Reopening(root))
    shifted = [dataclasses.replace(old, key=f"f{old.key[1:]}") for old in rows_of_many_clips(row)]
    write_index(root, shifted)
    with pytest.raises(ShardError, match=r"index\.parquet: (damaged|is another one than when it was opened)"):
        index.row(2000)


def test_what_is_no_index_is_refused(root, tmp_path):
    path = root / "index.parquet"
    content = path.read_bytes()
    for broken in (b"", b"PAR1", content[:-1], content[: len(content) // 2], content[:-8] + b"\xff\xff\xff\xffPAR1"):
        path.write_bytes(broken)
        with pytest.raises(ShardError, match=r"index\.parquet: damaged"):
            LazyIndex(LocalStorage(root))
    path.write_bytes(content)
    pq.write_table(read_index(root).replace_schema_metadata({"mggtalk.schema_version": "99"}), path)
    with pytest.raises(SchemaVersionError, match=r"index\.parquet: schema version 99"):
        LazyIndex(LocalStorage(root))
    path.unlink()
    with pytest.raises(ShardError, match="no such file; it is written last"):
        LazyIndex(LocalStorage(root))


def test_no_clips_are_no_error(tmp_path):
    write_index(tmp_path, [])
    assert Shards(tmp_path).clips() == Shards(tmp_path, "val").clips() == ()
