"""Damaged shards: the error names shard, sample and member, and nothing damaged is ever handed out."""

import json
import zlib

import numpy as np
import pytest

from mggtalk.errors import SchemaVersionError, ShardError
from mggtalk.shards import Shards, write_index
from mggtalk.shards.codecs.arrays import dump_arrays, load_arrays
from mggtalk.shards.codecs.clouds import decode_cloud
from mggtalk.shards.codecs.images import decode_depth, decode_normals, decode_rgb
from mggtalk.shards.index import SampleRow
from mggtalk.shards.schema import parse_meta
from tests.support.shard_samples import make_clip

CLIP = make_clip("ab" * 8)
CLIP_ID = CLIP.meta.clip_id


@pytest.fixture
def dataset(tmp_path, write_dataset):
    root = tmp_path / "shards"
    (row,) = write_dataset(root, [CLIP])
    return root, root / row.shard, row


def byte_range(row: SampleRow, member: str) -> tuple[int, int]:
    index = row.member_names.index(member)
    return row.member_offsets[index], row.member_sizes[index]


def read_everything(shards: Shards) -> None:
    shards.tracks(CLIP_ID)
    for frame in range(3):
        shards.head_frame(CLIP_ID, frame)
    for frame in (0, 2):
        shards.source_frame(CLIP_ID, frame)
        shards.cloud(CLIP_ID, frame)


def test_every_changed_byte_of_a_member_is_noticed(dataset):
    root, shard, row = dataset
    original = shard.read_bytes()
    random = np.random.default_rng(0)
    for member in row.member_names:
        offset, size = byte_range(row, member)
        data = bytearray(original)
        data[offset + random.integers(size)] ^= 1 << int(random.integers(8))
        shard.write_bytes(data)
        with pytest.raises(ShardError, match=rf"shard train/all\.tar: sample {row.key}: member {member}: damaged"):
            read_everything(Shards(root))
    shard.write_bytes(original)
    read_everything(Shards(root))


def test_a_truncated_shard_names_the_member_and_what_is_left(dataset):
    root, shard, row = dataset
    offset, size = byte_range(row, "001.rgb.jpg")
    shard.write_bytes(shard.read_bytes()[: offset + 10])
    shards = Shards(root)
    shards.head_frame(CLIP_ID, 0)
    expected = rf"shard train/all\.tar: sample {row.key}: member 001\.rgb\.jpg: truncated: got 10 of {size} bytes"
    with pytest.raises(ShardError, match=expected):
        shards.head_frame(CLIP_ID, 1)


def test_a_missing_shard_is_named(dataset):
    root, shard, row = dataset
    shard.unlink()
    with pytest.raises(ShardError, match=rf"shard train/all\.tar: sample {row.key}: member meta\.json: cannot be read"):
        Shards(root).image(CLIP_ID, 0)


def replace_member(root, shard, row: SampleRow, member: str, content: bytes) -> None:
    """Overwrite a member and update its hash, as a faulty writer would."""
    offset, size = byte_range(row, member)
    data = bytearray(shard.read_bytes())
    data[offset : offset + size] = content
    shard.write_bytes(data)
    number = row.member_names.index(member)
    crc32 = (*row.member_crc32[:number], zlib.crc32(content), *row.member_crc32[number + 1 :])
    fields = {name: getattr(row, name) for name in SampleRow.__dataclass_fields__}
    write_index(root, [SampleRow(**{**fields, "member_crc32": crc32})])


@pytest.mark.parametrize(
    "member", ["000.rgb.jpg", "000.head.png", "000.depth.png", "000.normal.png", "000.cloud.npz", "tracks.npz"]
)
def test_a_member_that_is_no_image_or_array_is_named(dataset, member):
    root, shard, row = dataset
    replace_member(root, shard, row, member, bytes(byte_range(row, member)[1]))
    with pytest.raises(
        ShardError, match=rf"sample {row.key}: member {member}: (cannot be decoded|not an \.npz|.*pickle)"
    ):
        read_everything(Shards(root))


def test_a_sample_of_another_schema_version_is_refused(dataset):
    root, shard, row = dataset
    offset, size = byte_range(row, "meta.json")
    content = shard.read_bytes()[offset : offset + size].replace(b'"schema_version":2', b'"schema_version":9')
    replace_member(root, shard, row, "meta.json", content)
    with pytest.raises(SchemaVersionError, match=r"member meta\.json: schema version 9, this reader knows 2"):
        Shards(root).image(CLIP_ID, 0)


def test_meta_with_an_unknown_key_or_without_one_is_refused():
    meta = json.loads(json.dumps(CLIP.meta.to_mapping()))
    assert parse_meta(json.dumps(meta).encode(), "here") == CLIP.meta
    with pytest.raises(ShardError, match="here: unknown key 'colour'"):
        parse_meta(json.dumps(meta | {"colour": 1}).encode(), "here")
    del meta["fps"]
    with pytest.raises(ShardError, match="here: missing key 'fps'"):
        parse_meta(json.dumps(meta).encode(), "here")
    with pytest.raises(ShardError, match="here: not JSON"):
        parse_meta(b"{", "here")
    with pytest.raises(ShardError, match="here: expected a JSON object, got list"):
        parse_meta(b"[]", "here")


def test_pickled_arrays_are_never_loaded(tmp_path):
    path = tmp_path / "evil.npz"
    np.savez(path, positions=np.array([{"run": "me"}], dtype=object))
    with pytest.raises(ValueError, match="would need pickle"):
        load_arrays(path.read_bytes(), ("positions",))
    with pytest.raises(ValueError, match="allow_pickle"):
        dump_arrays({"positions": np.array([object()])})


def test_arrays_that_do_not_fit_each_other_are_refused():
    arrays: dict[str, np.ndarray] = {
        "positions": np.zeros((3, 3), np.float16),
        "normals": np.zeros((3, 3), np.int8),
        "source_pixel": np.zeros((3, 2), np.int16),
        "twin": np.array([2], np.int32),
    }
    with pytest.raises(ValueError, match="twin: expected indices of the 2 visible points"):
        decode_cloud(dump_arrays(arrays))
    with pytest.raises(ValueError, match=r"normals: got shape \(2, 3\), expected \(3, 3\)"):
        decode_cloud(dump_arrays(arrays | {"normals": np.zeros((2, 3), np.int8)}))
    with pytest.raises(ValueError, match="no such array"):
        decode_cloud(dump_arrays({"positions": arrays["positions"]}))


@pytest.mark.parametrize("decoder", [decode_rgb, decode_normals, lambda data: decode_depth(data, 1.0)])
@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff"])
def test_decoders_refuse_what_they_cannot_read(decoder, data):
    with pytest.raises(ValueError, match="cannot be decoded"):
        decoder(data)
