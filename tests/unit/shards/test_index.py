import hashlib
import zlib
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mggtalk.errors import SchemaVersionError, ShardError
from mggtalk.shards import Shards, read_index, write_index
from mggtalk.shards.index import iterate_rows
from mggtalk.shards.schema import SCHEMA_VERSION
from tests.support.shard_samples import make_clip


@pytest.fixture
def dataset(tmp_path, write_dataset):
    clips = [make_clip("0" * 16), make_clip("f" * 16, num_frames=70, size=8)]
    return tmp_path / "shards", write_dataset(tmp_path / "shards", clips, 1)


def test_rows_come_back_as_written_sorted_by_key(dataset):
    root, rows = dataset
    write_index(root, reversed(rows))
    read = list(iterate_rows(read_index(root)))
    assert [row.key for row in read] == sorted(row.key for row in rows)
    assert read == list(rows)


def test_offsets_and_hashes_describe_the_bytes_of_the_shard(dataset):
    root, rows = dataset
    for row in rows:
        data = (root / row.shard).read_bytes()
        assert hashlib.sha256(data[row.offset : row.offset + row.size_bytes]).hexdigest() == row.sha256
        members = zip(row.member_names, row.member_offsets, row.member_sizes, row.member_crc32, strict=True)
        for name, offset, size, crc32 in members:
            member = data[offset : offset + size]
            assert zlib.crc32(member) == crc32
            header = data[offset - 512 : offset]
            assert header.startswith(f"{row.key}.{name}\0".encode())


def test_rows_cover_every_byte_of_a_shard_but_its_end(dataset):
    root, rows = dataset
    for shard in {row.shard for row in rows}:
        ranges = sorted((row.offset, row.offset + row.size_bytes) for row in rows if row.shard == shard)
        assert ranges[0][0] == 0
        assert all(first[1] == second[0] for first, second in pairwise(ranges))
        assert (root / shard).read_bytes()[ranges[-1][1] :] == bytes(1024)


def test_quality_is_the_mean_over_the_sample(dataset):
    _, rows = dataset
    clip = make_clip("f" * 16, num_frames=70, size=8)
    assert rows[1].mean_sharpness == pytest.approx(clip.tracks.sharpness[:64].mean())
    assert rows[2].mean_sharpness == pytest.approx(clip.tracks.sharpness[64:].mean())
    assert rows[1].mean_face_size == 120


def test_equal_rows_give_equal_bytes(tmp_path, dataset):
    _, rows = dataset
    first, second = write_index(tmp_path / "a", rows), write_index(tmp_path / "b", reversed(rows))
    assert first.read_bytes() == second.read_bytes()


def rewrite(path, metadata=None, drop=()):
    table = pq.read_table(path).drop_columns(list(drop))
    pq.write_table(table.replace_schema_metadata(metadata or table.schema.metadata), path)


@pytest.mark.parametrize("version", ["1", "3", "new", None])
def test_another_schema_version_is_refused(dataset, version):
    root, _ = dataset
    rewrite(root / "index.parquet", {"mggtalk.schema_version": version} if version else {"other": "1"})
    with pytest.raises(SchemaVersionError, match=rf"schema version .*, this reader knows {SCHEMA_VERSION}"):
        Shards(root)


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"not parquet at all"])
def test_a_damaged_index_is_a_shard_error(dataset, damage):
    root, _ = dataset
    (root / "index.parquet").write_bytes(damage)
    with pytest.raises(ShardError, match=r"index\.parquet: damaged"):
        Shards(root)


def test_missing_columns_are_named(dataset):
    root, _ = dataset
    rewrite(root / "index.parquet", drop=["sha256"])
    with pytest.raises(ShardError, match=r"columns differ from schema version 2: \['sha256'\]"):
        Shards(root)


def test_a_missing_chunk_is_noticed_on_opening(dataset):
    root, rows = dataset
    write_index(root, rows[:-1])
    with pytest.raises(ShardError, match=r"clip f{16}: samples missing: got those at frames \[0\]"):
        Shards(root)


def test_a_missing_data_set_is_a_shard_error(tmp_path):
    with pytest.raises(ShardError, match=r"index\.parquet: no such file"):
        Shards(tmp_path)


def test_an_empty_data_set_opens(tmp_path):
    write_index(tmp_path, [])
    assert Shards(tmp_path).clips() == ()
    assert isinstance(read_index(tmp_path), pa.Table)
