"""`verify` reports every deviation of a data set and its location; an intact data set has no issue."""

import random
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mggtalk.errors import SchemaVersionError, ShardError
from mggtalk.shards import Shards, write_index, write_shards, write_staged_clip
from mggtalk.shards.verify.dataset_check import verify
from mggtalk.shards.writing.staging import TAR_END
from tests.support.shard_samples import make_clip
from tests.support.verified_shards import (
    ADA,
    BOB,
    CY,
    DEE,
    byte_range,
    find_issues,
    flip,
    write_dataset,
    write_derived_files,
)


def read_all(root: Path) -> list[object]:
    """Return everything that the reader returns."""
    shards = Shards(root)
    told: list[object] = []
    for clip in shards.clips():
        tracks = shards.tracks(clip.clip_id)
        told += [clip, *(getattr(tracks, name).tobytes() for name in tracks.__slots__)]
        for frame in range(clip.num_frames):
            head = shards.head_frame(clip.clip_id, frame)
            told += [head.image.tobytes(), head.head_mask.tobytes(), head.valid.tobytes(), head.intrinsics.tobytes()]
            told += [shards.meta(clip.clip_id, frame), shards.audio(clip.clip_id, frame)]
        for frame in clip.source_frames:
            source, cloud = shards.source_frame(clip.clip_id, frame), shards.cloud(clip.clip_id, frame)
            told += [source.depth.tobytes(), source.normals.tobytes()]
            told += [getattr(cloud, name).tobytes() for name in cloud.__slots__]
    return told


def try_to_read_all(root: Path) -> tuple[list[object], ShardError | None]:
    try:
        return read_all(root), None
    except ShardError as error:
        return [], error


def test_an_intact_data_set_has_no_issue(pristine):
    result = verify(pristine[0])
    assert (result.issues, result.notes) == ([], [])
    assert (result.num_shards, result.num_samples) == (4, 4)
    assert result.num_bytes == sum(path.stat().st_size for path in pristine[0].glob("*/*.tar"))


def test_a_clip_of_several_samples_and_an_empty_data_set_are_intact(tmp_path):
    write_dataset(tmp_path / "long" / "shards", [make_clip(ADA, num_frames=130, size=8, geometry_stride=50)])
    assert find_issues(tmp_path / "long" / "shards") == []
    write_dataset(tmp_path / "none" / "shards", [])
    assert find_issues(tmp_path / "none" / "shards") == []


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.long)])
def test_wrong_bytes_are_all_found_and_the_reader_names_them_or_never_reads_them(dataset, count):
    root, rows = dataset
    expected = read_all(root)
    files = [root / "index.parquet", *sorted(root.glob("*/*.tar"))]
    choose = random.Random(0)
    refused = 0
    for _ in range(count):
        path = choose.choice(files)
        offset, mask = choose.randrange(path.stat().st_size), choose.randrange(1, 256)
        flip(path, offset, mask)
        where = f"{path.name}, byte {offset}, mask {mask}"
        assert verify(root, fast=choose.random() < 0.5).issues, where
        shard = path.relative_to(root).as_posix()
        blamed = [
            (row.shard, row.key, name)
            for row in rows.values()
            for name in row.member_names
            if row.shard == shard and 0 <= offset - byte_range(row, name)[0] < byte_range(row, name)[1]
        ]
        told, error = try_to_read_all(root)
        if error is None:
            assert told == expected, where
            assert not blamed, where
        else:
            refused += 1
            assert [(error.shard, error.sample, error.member)] == (blamed or [("", "", "")]), where
            assert (shard if blamed else "index.parquet") in str(error), where
        flip(path, offset, mask)
    assert count / 4 < refused < 3 * count / 4
    assert find_issues(root) == []


@pytest.mark.parametrize("name", ["card.json", "CARD.md", "examples.jpg", "rejects.parquet"])
def test_wrong_bytes_beside_the_shards_are_found(dataset, name):
    root, _ = dataset
    choose = random.Random(1)
    for _ in range(20):
        offset, mask = choose.randrange((root / name).stat().st_size), choose.randrange(1, 256)
        if name == "rejects.parquet":  # its rows follow from nothing here: their values are taken as they are
            offset = choose.choice([choose.randrange(4), (root / name).stat().st_size - 1 - choose.randrange(8)])
        flip(root / name, offset, mask)
        assert find_issues(root, fast=True), f"{name}, byte {offset}, mask {mask}"
        flip(root / name, offset, mask)


def test_without_an_index_shards_are_still_checked(dataset):
    root, rows = dataset
    (root / "index.parquet").unlink()
    assert [issue.file for issue in find_issues(root)] == ["index.parquet"]
    row = rows[ADA]
    flip(root / row.shard, byte_range(row, "000.head.png")[0] - 400)
    told = find_issues(root)
    assert [(issue.file, issue.sample, issue.member) for issue in told] == [
        ("index.parquet", "", ""),
        (row.shard, "", ""),
        (row.shard, row.key, "000.head.png"),
    ]
    assert told[2].what == "missing"


def test_a_shard_that_is_gone_is_told(dataset):
    root, rows = dataset
    (root / rows[DEE].shard).unlink()
    (root / "test").rmdir()
    assert [str(issue) for issue in find_issues(root)] == ["test/all.tar: missing, but the index has samples in it"]


def test_an_index_of_another_schema_version_is_refused_unless_it_stands_alone_with_it(dataset):
    root, rows = dataset
    table = pq.read_table(root / "index.parquet")
    pq.write_table(table.replace_schema_metadata({b"mggtalk.schema_version": b"9"}), root / "index.parquet")
    assert "schema version 9" in find_issues(root)[0].what
    for row in rows.values():
        offset, size = byte_range(row, "meta.json")
        path = root / row.shard
        content = path.read_bytes()
        old = content[offset : offset + size]
        path.write_bytes(content.replace(old, old.replace(b'"schema_version":2', b'"schema_version":9')))
    with pytest.raises(SchemaVersionError, match="schema version 9"):
        verify(root)


def test_an_index_with_values_that_none_can_be_is_found(dataset):
    root, rows = dataset
    write_index(root, [replace(row, source_frames=(None,)) for row in rows.values()])
    assert find_issues(root)[0].what == "cannot be read: column source_frames: a row has no value"
    write_index(root, [replace(row, split="dev") for row in rows.values()])
    assert "'dev' is not a valid Split" in find_issues(root)[0].what


def test_a_link_to_nothing_is_a_missing_shard(dataset):
    root, rows = dataset
    path = root / rows[CY].shard
    path.unlink()
    path.symlink_to("nowhere")
    assert [str(issue) for issue in find_issues(root)] == ["train/all.11.tar: missing, but the index has samples in it"]


def test_stray_files_and_folders_are_found(dataset):
    root, _ = dataset
    (root / "val").mkdir()
    (root / "more").mkdir()
    (root / "train" / "x.tar.17.partial").write_bytes(b"")
    (root / "notes.txt").write_text("hello")
    assert {issue.file for issue in find_issues(root)} == {"val", "more", "train/x.tar.17.partial", "notes.txt"}


def test_shards_in_the_wrong_folder_or_under_a_wrong_name_are_found(dataset):
    root, rows = dataset
    (root / "train" / "a.0.tar").rename(root / "train" / "a.tar")
    write_index(root, [replace(row, shard="train/a.tar") if row.clip_id == BOB else row for row in rows.values()])
    (issue,) = find_issues(root)
    assert (issue.what, issue.expected) == (f"clip {BOB} belongs in another shard", "train/a.0.tar")
    (root / "train" / "a.tar").rename(root / "test" / "a.0.tar")
    write_index(root, [replace(row, shard="test/a.0.tar") if row.clip_id == BOB else row for row in rows.values()])
    assert ("split", "test", "train") in {(told.what, told.expected, told.got) for told in find_issues(root)}


def test_without_a_card_any_target_size_will_do_but_the_tree_must_be_one(dataset):
    root, rows = dataset
    (root / "card.json").unlink()
    assert [issue.file for issue in find_issues(root)] == ["card.json"]
    (root / "train" / "a.0.tar").rename(root / "train" / "a.tar")
    write_index(root, [replace(row, shard="train/a.tar") if row.clip_id == BOB else row for row in rows.values()])
    assert any("belongs in another shard" in issue.what for issue in find_issues(root))


def test_a_clip_that_is_not_whole_or_has_two_people_is_found(tmp_path):
    root = tmp_path / "shards"
    made = make_clip(ADA, num_frames=130, size=8, geometry_stride=50)
    samples = list(made.samples())
    staged = write_staged_clip(tmp_path / "whole.tar", samples)
    rows = write_shards(root, [staged], target_bytes=10**9)
    content = (root / "train" / "all.tar").read_bytes()
    first, second, third = (content[row.offset : row.offset + row.size_bytes] for row in rows)
    (root / "train" / "all.tar").write_bytes(first + third + TAR_END)
    write_derived_files(root, [rows[0], rows[2].relocated("train/all.tar", len(first))])
    (issue,) = [told for told in find_issues(root) if "target" not in told.what]
    assert (issue.what, issue.got) == (f"clip {ADA} is not whole", "0 to 64, 128 to 130")

    (root / "train" / "all.tar").write_bytes(second + first + third + TAR_END)
    moved = [rows[1].relocated("train/all.tar", 0), rows[0].relocated("train/all.tar", len(second)), rows[2]]
    write_derived_files(root, moved)
    assert [(told.sample, told.what) for told in find_issues(root)] == [
        (f"{ADA}-0000", "not in the order of clips and chunks")
    ]


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ShardError, match="no such folder"):
        verify(tmp_path / "nowhere")
