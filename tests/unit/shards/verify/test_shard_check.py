"""`verify` checks samples and members, and the index's rows against the shards."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from mggtalk.shards import write_index
from mggtalk.shards.schema import dump_meta
from mggtalk.shards.writing.staging import TAR_END, tar_entry
from tests.support.verified_shards import (
    ADA,
    BOB,
    CY,
    audio_of,
    byte_range,
    find_issues,
    flip,
    member_contents,
    overwrite_shard,
    replace_member,
)


def test_damaged_data_is_told_once_with_sample_and_member(dataset):
    root, rows = dataset
    row = rows[BOB]
    flip(root / row.shard, byte_range(row, "000.rgb.jpg")[0] + 40)
    (issue,) = find_issues(root)
    assert (issue.file, issue.sample, issue.member) == (row.shard, row.key, "000.rgb.jpg")
    crc = row.member_crc32[row.member_names.index("000.rgb.jpg")]
    assert (issue.what, issue.expected) == ("damaged: CRC-32", f"{crc:08x}")
    assert str(issue) == (
        f"train/a.0.tar: sample {BOB}-0000: member 000.rgb.jpg: damaged: CRC-32: got {issue.got}, expected {crc:08x}"
    )


def test_a_sample_in_the_tar_but_not_in_the_index_and_the_reverse(dataset):
    root, rows = dataset
    write_index(root, [row for row in rows.values() if row.clip_id != ADA])
    told = find_issues(root)
    assert (told[0].file, told[0].sample) == ("index.parquet", f"{ADA}-0000")
    assert "total.clips: not what the index gives" in {issue.what for issue in told}
    write_index(root, [*rows.values(), replace(rows[ADA], key=f"{ADA}-0001")])
    assert any((issue.file, issue.sample) == (rows[ADA].shard, f"{ADA}-0001") for issue in find_issues(root))
    write_index(root, [*rows.values(), rows[ADA]])
    assert find_issues(root)[0].what == "a sample has several rows"


@pytest.mark.parametrize(
    ("change", "what", "member"),
    [
        (lambda row: replace(row, sha256="0" * 64), "sha256", ""),
        (lambda row: replace(row, identity="somebody else"), "identity", ""),
        (lambda row: replace(row, mean_sharpness=1.5), "mean_sharpness", ""),
        (lambda row: replace(row, source_frames=()), "source_frames", ""),
        (lambda row: replace(row, size_bytes=512), "size_bytes", ""),
        (lambda row: replace(row, member_crc32=(7, *row.member_crc32[1:])), "member_crc32", "meta.json"),
        (lambda row: replace(row, member_sizes=(7, *row.member_sizes[1:])), "member_sizes", "meta.json"),
        (lambda row: replace(row, member_offsets=(7, *row.member_offsets[1:])), "member_offsets", "meta.json"),
        (lambda row: replace(row, member_crc32=row.member_crc32[1:]), "member_crc32", ""),
    ],
)
def test_an_index_that_does_not_follow_from_the_shards_is_blamed_itself(dataset, change, what, member):
    root, rows = dataset
    write_index(root, [change(row) if row.clip_id == ADA else row for row in rows.values()])
    told = [issue for issue in find_issues(root) if issue.what == what]
    assert [(issue.file, issue.sample, issue.member) for issue in told][:1] == [
        ("index.parquet", f"{ADA}-0000", member)
    ]


@pytest.mark.parametrize("indexed", [True, False])
def test_members_in_another_order_twice_or_of_no_schema_are_found(dataset, indexed):
    root, rows = dataset
    row = rows[CY]
    members = list(member_contents(root, row).items())
    if not indexed:
        (root / "index.parquet").unlink()

    def told() -> set[tuple[str, str, str]]:
        return {(issue.sample, issue.member, issue.what) for issue in find_issues(root)}

    overwrite_shard(root, row, [members[0], *members[:0:-1]])
    assert (row.key, "", "members twice or not in the schema's order") in told()
    overwrite_shard(root, row, [*members, members[-1]])
    assert (row.key, "", "members twice or not in the schema's order") in told()
    overwrite_shard(root, row, [*members, ("000.evil.bin", b"")])
    assert (row.key, "000.evil.bin", "not in the schema") in told()
    overwrite_shard(root, row, members[:-1])
    assert (row.key, members[-1][0], "missing") in told()
    overwrite_shard(root, row, members[1:])
    assert (row.key, "meta.json", "missing") in told()
    overwrite_shard(root, row, members, key=f"{CY}-0001")
    assert (f"{CY}-0001", "meta.json", "belongs to another sample") in told()


def test_samples_that_are_mixed_up_are_found(dataset):
    root, rows = dataset
    row = rows[CY]
    members = member_contents(root, row)
    entries = [tar_entry(f"{row.key}.{name}", data) for name, data in members.items()]
    stranger = tar_entry("x.meta.json", members["meta.json"])
    (root / row.shard).write_bytes(entries[0] + stranger + b"".join(entries[1:]) + TAR_END)
    assert (row.key, "its members are not together") in {(told.sample, told.what) for told in find_issues(root)}


def test_more_or_fewer_depth_scales_than_depth_maps_are_found(dataset):
    root, rows = dataset
    meta = json.loads(member_contents(root, rows[ADA])["meta.json"])
    replace_member(root, rows[ADA], "meta.json", dump_meta(meta | {"depth_scale": [1.0, 2.0]}))
    (issue,) = find_issues(root)
    assert (issue.member, issue.what, issue.expected, issue.got) == (
        "meta.json",
        "depth_scale",
        "1 numbers",
        "2",
    )


def blank_image(extension: str, size: int) -> bytes:
    return bytes(cv2.imencode(extension, np.zeros((size, size), np.uint8))[1].tobytes())


@pytest.mark.parametrize(
    ("member", "data", "what"),
    [
        ("000.rgb.jpg", blank_image(".jpg", 9), r"got shape (9, 9, 3), expected (8, 8, 3)"),
        ("000.rgb.jpg", b"no image", "cannot be decoded"),
        ("000.head.png", blank_image(".png", 4), "got shape (4, 4), expected (8, 8)"),
        ("000.depth.png", blank_image(".png", 8), "expected one 16-bit channel"),
        ("000.normal.png", blank_image(".png", 2), "got shape (2, 2, 3), expected (8, 8, 3)"),
        ("000.cloud.npz", b"PK\x03\x04 no arrays", "not an .npz"),
        ("audio.flac", audio_of(3), "1920 audio samples, expected 1280"),
        ("audio.flac", b"fLaC", "cannot be decoded as FLAC"),
    ],
)
def test_members_that_do_not_decode_to_what_they_should_are_found_unless_fast(dataset, member, data, what):
    root, rows = dataset
    replace_member(root, rows[ADA], member, data)
    (issue,) = find_issues(root)
    assert (issue.file, issue.sample, issue.member) == (rows[ADA].shard, f"{ADA}-0000", member)
    assert what in issue.what
    assert find_issues(root, fast=True) == []


def test_metadata_that_is_not_written_as_it_should_be_is_found(dataset):
    root, rows = dataset
    meta = json.loads(member_contents(root, rows[ADA])["meta.json"])
    replace_member(root, rows[ADA], "meta.json", json.dumps(meta).encode())
    (issue,) = find_issues(root, fast=True)
    assert (issue.member, issue.what) == ("meta.json", "not as it is written: sorted keys, no spaces")
