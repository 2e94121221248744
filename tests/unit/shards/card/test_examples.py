"""The example images follow from the shards alone: which people are shown, in which order, and the bytes."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from mggtalk.errors import ShardError
from mggtalk.records import Split
from mggtalk.shards import write_examples
from mggtalk.shards.card.examples import EXAMPLES, choose_examples
from mggtalk.shards.codecs import images
from tests.support.shard_samples import make_clip


def clips():
    return [make_clip(f"{number:x}" * 16, num_frames=3, size=16) for number in range(1, 10)] + [
        make_clip("f" * 16, num_frames=3, size=16, split=Split.TEST)
    ]


def people(rows):
    """The same rows, each clip of another person."""
    return [replace(row, identity=f"person {row.clip_id[0]}") for row in rows]


def test_a_row_for_each_split_and_each_person_once(tmp_path, write_dataset):
    rows = people(write_dataset(tmp_path, clips()))
    train, test = choose_examples(rows)
    assert len({example.key for example in train}) == 6
    assert [example.key for example in test] == [f"{'f' * 16}-0000"]
    one_person = [replace(row, identity="ada") for row in rows]
    assert [len(part) for part in choose_examples(one_person)] == [1, 1]
    assert choose_examples(reversed(rows)) == [train, test]


def test_one_person_more_takes_at_most_one_place(tmp_path, write_dataset):
    rows = people(write_dataset(tmp_path, clips()))
    for left_out in rows:
        before = choose_examples([row for row in rows if row is not left_out and row.split is Split.TRAIN])
        after = choose_examples([row for row in rows if row.split is Split.TRAIN])
        assert len(set(before[0]) - set(after[0])) <= 1


def test_the_image_shows_the_crops_and_is_written_with_its_hash(tmp_path, write_dataset):
    rows = people(write_dataset(tmp_path, clips()))
    digest = write_examples(tmp_path, rows)
    content = (tmp_path / EXAMPLES).read_bytes()
    assert hashlib.sha256(content).hexdigest() == digest == write_examples(tmp_path, reversed(rows))
    sheet = images.decode_rgb(content)
    assert sheet.shape == (2 * 128, 6 * 128, 3)
    (shown,) = [row for row in rows if row.split is Split.TEST]
    number = shown.member_names.index("000.rgb.jpg")
    stored = (tmp_path / shown.shard).read_bytes()[shown.member_offsets[number] :][: shown.member_sizes[number]]
    enlarged = np.repeat(np.repeat(images.decode_rgb(stored), 8, 0), 8, 1)
    assert np.abs(sheet[128:, :128].astype(int) - enlarged).mean() < 4
    assert enlarged.std() > 20
    assert sheet[128:, 160:].mean() < 1  # no one else in that row


def test_without_samples_there_is_no_image(tmp_path):
    (tmp_path / EXAMPLES).write_bytes(b"of before")
    assert write_examples(tmp_path, []) == ""
    assert not (tmp_path / EXAMPLES).exists()


def test_a_damaged_crop_is_an_error_that_names_it(tmp_path, write_dataset):
    rows = write_dataset(tmp_path, clips()[:1])
    offset = rows[0].member_offsets[rows[0].member_names.index("000.rgb.jpg")]
    data = bytearray((tmp_path / rows[0].shard).read_bytes())
    data[offset + 30] ^= 1
    (tmp_path / rows[0].shard).write_bytes(data)
    with pytest.raises(ShardError, match=r"examples\.jpg: damaged: CRC-32") as caught:
        write_examples(tmp_path, rows)
    assert (caught.value.shard, caught.value.member) == (rows[0].shard, "000.rgb.jpg")
