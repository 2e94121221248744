"""Reading in bulk by a policy: a damaged sample stops the reader, or is left out and counted."""

import logging
import pickle
from functools import partial

import pytest

from mggtalk.errors import SchemaVersionError, ShardError
from mggtalk.shards import CorruptSamplePolicy, OnCorruptSample, Shards
from mggtalk.shards.schema import rgb_member
from tests.support.shard_samples import make_clip

GOOD, BAD = "ab" * 8, "cd" * 8


@pytest.fixture
def shards(tmp_path, write_dataset) -> Shards:
    """Two clips; a byte of the second one's picture of frame 1 is wrong."""
    root = tmp_path / "shards"
    row = write_dataset(root, [make_clip(GOOD), make_clip(BAD)])[1]
    data = bytearray((root / row.shard).read_bytes())
    data[row.member_offsets[row.member_names.index(rgb_member(1))] + 9] ^= 4
    (root / row.shard).write_bytes(data)
    return Shards(root)


def read_all(shards: Shards, guard: CorruptSamplePolicy) -> list[tuple[str, int]]:
    """Return the frames that could be read."""
    places = [(clip.clip_id, frame) for clip in shards.clips() for frame in range(clip.num_frames)]
    return [place for place in places if guard.read(partial(shards.image, *place)) is not None]


def test_damage_stops_by_default_and_the_error_says_where(shards):
    with pytest.raises(ShardError, match="damaged") as raised:
        read_all(shards, CorruptSamplePolicy())
    error = raised.value
    assert (error.shard, error.sample, error.member) == ("train/all.tar", f"{BAD}-0000", "001.rgb.jpg")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.shard, copy.sample, copy.member) == (str(error), error.shard, error.sample, error.member)


def test_skipped_damage_is_counted_with_one_warning_a_sample(shards, caplog):
    guard = CorruptSamplePolicy("skip")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            read = read_all(shards, guard)
    assert read == [(GOOD, 0), (GOOD, 1), (GOOD, 2), (BAD, 0), (BAD, 2)]
    assert guard.skipped == {f"{BAD}-0000": 3}
    (record,) = caplog.records
    assert f"sample {BAD}-0000: member 001.rgb.jpg: damaged" in record.getMessage()


def test_what_is_no_sample_s_damage_is_never_skipped(shards):
    guard = CorruptSamplePolicy(OnCorruptSample.SKIP)
    with pytest.raises(ShardError, match="no clip 'nobody'"):
        guard.read(lambda: shards.image("nobody", 0))

    def of_another_version() -> None:
        raise SchemaVersionError("version 9", sample="x")

    with pytest.raises(SchemaVersionError):
        guard.read(of_another_version)
    with pytest.raises(IndexError):
        guard.read(lambda: shards.image(GOOD, 99))
    assert not guard.skipped
