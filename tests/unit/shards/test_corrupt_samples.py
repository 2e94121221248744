"""Bulk reading under a policy: a corrupt sample stops the reader, or is skipped and counted."""

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
    """Return two clips; a byte in the second one's image of frame 1 is flipped."""
    root = tmp_path / "shards"
    row = write_dataset(root, [make_clip(GOOD), make_clip(BAD)])[1]
    data = bytearray((root / row.shard).read_bytes())
    data[row.member_offsets[row.member_names.index(rgb_member(1))] + 9] ^= 4
    (root / row.shard).write_bytes(data)
    return Shards(root)


def read_all(shards: Shards, policy: CorruptSamplePolicy) -> list[tuple[str, int]]:
    """Return the frames that could be read."""
    frames = [(clip.clip_id, frame) for clip in shards.clips() for frame in range(clip.num_frames)]
    return [frame for frame in frames if policy.read(partial(shards.image, *frame)) is not None]


def test_a_corrupt_sample_stops_by_default_and_the_error_says_where(shards):
    with pytest.raises(ShardError, match="damaged") as raised:
        read_all(shards, CorruptSamplePolicy())
    error = raised.value
    assert (error.shard, error.sample, error.member) == ("train/all.tar", f"{BAD}-0000", "001.rgb.jpg")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.shard, copy.sample, copy.member) == (str(error), error.shard, error.sample, error.member)


def test_skipped_samples_are_counted_with_one_warning_a_sample(shards, caplog):
    policy = CorruptSamplePolicy("skip")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            read = read_all(shards, policy)
    assert read == [(GOOD, 0), (GOOD, 1), (GOOD, 2), (BAD, 0), (BAD, 2)]
    assert policy.skipped == {f"{BAD}-0000": 3}
    (record,) = caplog.records
    assert f"sample {BAD}-0000: member 001.rgb.jpg: damaged" in record.getMessage()


def test_faults_of_no_single_sample_are_never_skipped(shards):
    policy = CorruptSamplePolicy(OnCorruptSample.SKIP)
    with pytest.raises(ShardError, match="no clip 'nobody'"):
        policy.read(lambda: shards.image("nobody", 0))

    def of_another_version() -> None:
        raise SchemaVersionError("version 9", sample="x")

    with pytest.raises(SchemaVersionError):
        policy.read(of_another_version)
    with pytest.raises(IndexError):
        policy.read(lambda: shards.image(GOOD, 99))
    assert not policy.skipped
