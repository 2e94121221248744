"""`verify` checks every byte of a tar around its members' data: headers, padding and end."""

import pytest

from tests.support.verified_shards import ADA, CY, DEE, byte_range, edit, find_issues, flip, issue_locations


@pytest.mark.parametrize(
    ("field", "offset"), [("name", 3), ("mode", 104), ("owner", 110), ("size", 130), ("time", 140), ("reserved", 505)]
)
def test_a_damaged_header_is_told_with_its_field_and_the_rest_is_still_checked(dataset, field, offset):
    root, rows = dataset
    ada, dee = rows[ADA], rows[DEE]
    flip(root / ada.shard, byte_range(ada, "001.head.png")[0] - 512 + offset)
    flip(root / ada.shard, byte_range(ada, "001.head.png")[0] + 20)
    flip(root / ada.shard, ada.size_bytes + 700)
    flip(root / dee.shard, byte_range(dee, "tracks.npz")[0] + 9)
    told = find_issues(root)
    assert [(issue.sample, issue.member) for issue in told] == [
        (dee.key, "tracks.npz"),
        (ada.key, "001.head.png"),
        ("", ""),  # the end is reached before the sample is whole
        (ada.key, "001.head.png"),
    ]
    assert f": {field}" in told[1].what
    assert "zero bytes" in told[2].what
    assert "CRC-32" in told[3].what


def test_padding_is_checked(dataset):
    root, rows = dataset
    row = rows[CY]
    offset, size = byte_range(row, "meta.json")
    assert size % 512
    flip(root / row.shard, offset + size)
    assert issue_locations(root) == [(row.shard, row.key, "meta.json")]


def test_a_truncated_shard_names_the_member_where_it_ends_and_those_that_are_gone(dataset):
    root, rows = dataset
    row = rows[ADA]
    edit(root / row.shard, lambda data: data.__delitem__(slice(byte_range(row, "001.head.png")[0] + 5, None)))
    told = find_issues(root)
    assert (row.shard, row.key, "001.head.png") in issue_locations(root)
    assert any(issue.what == "the file ends within" and issue.got == "5" for issue in told)


def test_what_follows_a_shard_is_found(dataset):
    root, rows = dataset
    edit(root / rows[ADA].shard, lambda data: data.extend(bytes(512)))
    assert [issue.file for issue in find_issues(root)] == [rows[ADA].shard]
