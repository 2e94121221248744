"""`verify` finds whatever is not as it should be, and says where; a sound data set has no issue."""

import hashlib
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mggtalk.errors import SchemaVersionError, ShardError
from mggtalk.records import Rejected, RejectReason, Split
from mggtalk.shards import (
    CardContext,
    SampleRow,
    Shards,
    write_card,
    write_examples,
    write_index,
    write_shards,
    write_staged_clip,
)
from mggtalk.shards.codecs import images
from mggtalk.shards.index import iterate_rows, read_index
from mggtalk.shards.schema import dump_meta
from mggtalk.shards.verify.dataset_check import verify
from mggtalk.shards.verify.issues import Issue
from mggtalk.shards.writing.staging import TAR_END, scan_tar, tar_entry
from mggtalk.stages.tables import write_rejects
from mggtalk.video.audio import encode_flac
from tests.support.shard_samples import MadeClip, make_clip

ADA, BOB, CY, DEE = ("ab" * 8, "a0" * 8, "cd" * 8, "ef" * 8)
TARGET_MB = 0.02
CONTEXT = CardContext("people", parameters={"target_shard_mb": TARGET_MB}, rejects={"NO_HEAD": 1}, tools={"av": "1"})


def sound_of(num_frames: int, fps: float = 25.0) -> bytes:
    return encode_flac((np.arange(round(num_frames / fps * 16_000)) % 100).astype(np.int16))


def clips() -> list[MadeClip]:
    """Three clips in three shards of `train` and one in `test`; one has sound and a frame without geometry."""
    return [
        make_clip(ADA, num_frames=2, size=8, audio=sound_of(2)),
        make_clip(BOB, num_frames=1, size=8),
        make_clip(CY, num_frames=1, size=8),
        make_clip(DEE, num_frames=1, size=8, split=Split.TEST),
    ]


def write(root: Path, made: list[MadeClip]) -> dict[str, SampleRow]:
    """Write what the stage `shards` writes; return the rows by clip."""
    spool = root.parent / "staging"
    staged = [write_staged_clip(spool / f"{clip.meta.clip_id}.tar", clip.samples()) for clip in made]
    rows = write_shards(root, staged, target_bytes=round(TARGET_MB * 1e6))
    finish(root, rows)
    return {row.clip_id: row for row in rows}


def finish(root: Path, rows, examples: str | None = None) -> None:
    """Write what follows from the shards; `examples` is the hash of the images, if not of those that they give."""
    digest = write_examples(root, rows) if examples is None else examples
    write_card(root, rows, replace(CONTEXT, examples=digest))
    write_rejects(root, [Rejected("x" * 16, RejectReason.NO_HEAD, "small")])
    write_index(root, rows)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> tuple[Path, dict[str, SampleRow]]:
    root = tmp_path_factory.mktemp("pristine") / "shards"
    return root, write(root, clips())


@pytest.fixture
def dataset(pristine, tmp_path) -> tuple[Path, dict[str, SampleRow]]:
    """A copy that a test may damage."""
    root, rows = pristine
    return Path(shutil.copytree(root, tmp_path / "shards")), rows


def edit(path: Path, change: Callable[[bytearray], object]) -> None:
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)


def flip(path: Path, offset: int, mask: int = 1) -> None:
    edit(path, lambda data: data.__setitem__(offset, data[offset] ^ mask))


def place(row: SampleRow, member: str) -> tuple[int, int]:
    number = row.member_names.index(member)
    return row.member_offsets[number], row.member_sizes[number]


def issues(root: Path, *, fast: bool = False) -> list[Issue]:
    return verify(root, fast=fast).issues


def places(root: Path) -> list[tuple[str, str, str]]:
    return [(issue.file, issue.sample, issue.member) for issue in issues(root)]


def read_all(root: Path) -> list[object]:
    """Return everything that the reader can tell."""
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


def test_a_sound_data_set_has_no_issue(pristine):
    result = verify(pristine[0])
    assert (result.issues, result.notes) == ([], [])
    assert (result.num_shards, result.num_samples) == (4, 4)
    assert result.num_bytes == sum(path.stat().st_size for path in pristine[0].glob("*/*.tar"))


def test_a_clip_of_several_samples_and_an_empty_data_set_are_sound(tmp_path):
    write(tmp_path / "long" / "shards", [make_clip(ADA, num_frames=130, size=8, geometry_stride=50)])
    assert issues(tmp_path / "long" / "shards") == []
    write(tmp_path / "none" / "shards", [])
    assert issues(tmp_path / "none" / "shards") == []


def test_200_wrong_bytes_are_all_found_and_the_reader_names_them_or_never_reads_them(dataset):
    root, rows = dataset
    expected = read_all(root)
    files = [root / "index.parquet", *sorted(root.glob("*/*.tar"))]
    choose = random.Random(0)
    refused = 0
    for _ in range(200):
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
            if row.shard == shard and 0 <= offset - place(row, name)[0] < place(row, name)[1]
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
    assert 50 < refused < 150
    assert issues(root) == []


@pytest.mark.parametrize("name", ["card.json", "CARD.md", "examples.jpg", "rejects.parquet"])
def test_wrong_bytes_beside_the_shards_are_found(dataset, name):
    root, _ = dataset
    choose = random.Random(1)
    for _ in range(20):
        offset, mask = choose.randrange((root / name).stat().st_size), choose.randrange(1, 256)
        if name == "rejects.parquet":  # its rows follow from nothing here: their values are taken as they are
            offset = choose.choice([choose.randrange(4), (root / name).stat().st_size - 1 - choose.randrange(8)])
        flip(root / name, offset, mask)
        assert issues(root, fast=True), f"{name}, byte {offset}, mask {mask}"
        flip(root / name, offset, mask)


def test_damaged_data_is_told_once_with_sample_and_member(dataset):
    root, rows = dataset
    row = rows[BOB]
    flip(root / row.shard, place(row, "000.rgb.jpg")[0] + 40)
    (issue,) = issues(root)
    assert (issue.file, issue.sample, issue.member) == (row.shard, row.key, "000.rgb.jpg")
    crc = row.member_crc32[row.member_names.index("000.rgb.jpg")]
    assert (issue.what, issue.expected) == ("damaged: CRC-32", f"{crc:08x}")
    assert str(issue) == (
        f"train/a.0.tar: sample {BOB}-0000: member 000.rgb.jpg: damaged: CRC-32: got {issue.got}, expected {crc:08x}"
    )


@pytest.mark.parametrize(
    ("field", "offset"), [("name", 3), ("mode", 104), ("owner", 110), ("size", 130), ("time", 140), ("reserved", 505)]
)
def test_a_damaged_header_is_told_with_its_field_and_the_rest_is_still_checked(dataset, field, offset):
    root, rows = dataset
    ada, dee = rows[ADA], rows[DEE]
    flip(root / ada.shard, place(ada, "001.head.png")[0] - 512 + offset)
    flip(root / ada.shard, place(ada, "001.head.png")[0] + 20)
    flip(root / ada.shard, ada.size_bytes + 700)
    flip(root / dee.shard, place(dee, "tracks.npz")[0] + 9)
    told = issues(root)
    assert [(issue.sample, issue.member) for issue in told] == [
        (dee.key, "tracks.npz"),
        (ada.key, "001.head.png"),
        ("", ""),  # the end is reached before the sample is whole
        (ada.key, "001.head.png"),
    ]
    assert f": {field}" in told[1].what
    assert "zero bytes" in told[2].what
    assert "CRC-32" in told[3].what


def test_without_an_index_shards_are_still_checked(dataset):
    root, rows = dataset
    (root / "index.parquet").unlink()
    assert [issue.file for issue in issues(root)] == ["index.parquet"]
    row = rows[ADA]
    flip(root / row.shard, place(row, "000.head.png")[0] - 400)
    told = issues(root)
    assert [(issue.file, issue.sample, issue.member) for issue in told] == [
        ("index.parquet", "", ""),
        (row.shard, "", ""),
        (row.shard, row.key, "000.head.png"),
    ]
    assert told[2].what == "missing"


def test_padding_is_checked(dataset):
    root, rows = dataset
    row = rows[CY]
    offset, size = place(row, "meta.json")
    assert size % 512
    flip(root / row.shard, offset + size)
    assert places(root) == [(row.shard, row.key, "meta.json")]


def test_a_truncated_shard_names_the_member_where_it_ends_and_those_that_are_gone(dataset):
    root, rows = dataset
    row = rows[ADA]
    edit(root / row.shard, lambda data: data.__delitem__(slice(place(row, "001.head.png")[0] + 5, None)))
    told = issues(root)
    assert (row.shard, row.key, "001.head.png") in places(root)
    assert any(issue.what == "the file ends within" and issue.got == "5" for issue in told)


def test_what_follows_a_shard_is_found(dataset):
    root, rows = dataset
    edit(root / rows[ADA].shard, lambda data: data.extend(bytes(512)))
    assert [issue.file for issue in issues(root)] == [rows[ADA].shard]


def test_a_shard_that_is_gone_is_told(dataset):
    root, rows = dataset
    (root / rows[DEE].shard).unlink()
    (root / "test").rmdir()
    assert [str(issue) for issue in issues(root)] == ["test/all.tar: missing, but the index has samples in it"]


def test_a_sample_in_the_tar_but_not_in_the_index_and_the_reverse(dataset):
    root, rows = dataset
    write_index(root, [row for row in rows.values() if row.clip_id != ADA])
    told = issues(root)
    assert (told[0].file, told[0].sample) == ("index.parquet", f"{ADA}-0000")
    assert "total.clips: not what the index gives" in {issue.what for issue in told}
    write_index(root, [*rows.values(), replace(rows[ADA], key=f"{ADA}-0001")])
    assert any((issue.file, issue.sample) == (rows[ADA].shard, f"{ADA}-0001") for issue in issues(root))
    write_index(root, [*rows.values(), rows[ADA]])
    assert issues(root)[0].what == "a sample has several rows"


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
    told = [issue for issue in issues(root) if issue.what == what]
    assert [(issue.file, issue.sample, issue.member) for issue in told][:1] == [
        ("index.parquet", f"{ADA}-0000", member)
    ]


def test_rows_in_another_order_or_otherwise_compressed_are_found(dataset):
    root, rows = dataset
    table = pq.read_table(root / "index.parquet")
    pq.write_table(table, root / "index.parquet")
    (issue,) = issues(root)
    assert "not the bytes that its rows give" in issue.what
    write_index(root, rows.values())
    assert issues(root) == []


def test_an_index_by_another_arrow_is_a_note(dataset):
    root, _ = dataset
    ours = f"parquet-cpp-arrow version {pa.__version__}".encode()
    other = ours[:-1] + (b"0" if ours[-1:] != b"0" else b"1")
    path = root / "index.parquet"
    path.write_bytes(path.read_bytes().replace(ours, other))
    result = verify(root)
    assert result.issues == []
    assert other.decode() in result.notes[0]


def test_an_index_of_another_schema_version_is_refused_unless_it_stands_alone_with_it(dataset):
    root, rows = dataset
    table = pq.read_table(root / "index.parquet")
    pq.write_table(table.replace_schema_metadata({b"mggtalk.schema_version": b"9"}), root / "index.parquet")
    assert "schema version 9" in issues(root)[0].what
    for row in rows.values():
        offset, size = place(row, "meta.json")
        path = root / row.shard
        content = path.read_bytes()
        old = content[offset : offset + size]
        path.write_bytes(content.replace(old, old.replace(b'"schema_version":2', b'"schema_version":9')))
    with pytest.raises(SchemaVersionError, match="schema version 9"):
        verify(root)


def test_an_index_with_values_that_none_can_be_is_found(dataset):
    root, rows = dataset
    write_index(root, [replace(row, source_frames=(None,)) for row in rows.values()])
    assert issues(root)[0].what == "cannot be read: column source_frames: a row has no value"
    write_index(root, [replace(row, split="dev") for row in rows.values()])
    assert "'dev' is not a valid Split" in issues(root)[0].what


def test_a_link_to_nothing_is_a_missing_shard(dataset):
    root, rows = dataset
    path = root / rows[CY].shard
    path.unlink()
    path.symlink_to("nowhere")
    assert [str(issue) for issue in issues(root)] == ["train/all.11.tar: missing, but the index has samples in it"]


def test_stray_files_and_folders_are_found(dataset):
    root, _ = dataset
    (root / "val").mkdir()
    (root / "more").mkdir()
    (root / "train" / "x.tar.17.partial").write_bytes(b"")
    (root / "notes.txt").write_text("hello")
    assert {issue.file for issue in issues(root)} == {"val", "more", "train/x.tar.17.partial", "notes.txt"}


def test_shards_in_the_wrong_folder_or_under_a_wrong_name_are_found(dataset):
    root, rows = dataset
    (root / "train" / "a.0.tar").rename(root / "train" / "a.tar")
    write_index(root, [replace(row, shard="train/a.tar") if row.clip_id == BOB else row for row in rows.values()])
    (issue,) = issues(root)
    assert (issue.what, issue.expected) == (f"clip {BOB} belongs in another shard", "train/a.0.tar")
    (root / "train" / "a.tar").rename(root / "test" / "a.0.tar")
    write_index(root, [replace(row, shard="test/a.0.tar") if row.clip_id == BOB else row for row in rows.values()])
    assert ("split", "test", "train") in {(told.what, told.expected, told.got) for told in issues(root)}


def test_without_a_card_any_target_size_will_do_but_the_tree_must_be_one(dataset):
    root, rows = dataset
    (root / "card.json").unlink()
    assert [issue.file for issue in issues(root)] == ["card.json"]
    (root / "train" / "a.0.tar").rename(root / "train" / "a.tar")
    write_index(root, [replace(row, shard="train/a.tar") if row.clip_id == BOB else row for row in rows.values()])
    assert any("belongs in another shard" in issue.what for issue in issues(root))


def test_a_clip_that_is_not_whole_or_has_two_people_is_found(tmp_path):
    root = tmp_path / "shards"
    made = make_clip(ADA, num_frames=130, size=8, geometry_stride=50)
    samples = list(made.samples())
    spooled = write_staged_clip(tmp_path / "whole.tar", samples)
    rows = write_shards(root, [spooled], target_bytes=10**9)
    content = (root / "train" / "all.tar").read_bytes()
    first, second, third = (content[row.offset : row.offset + row.size_bytes] for row in rows)
    (root / "train" / "all.tar").write_bytes(first + third + TAR_END)
    finish(root, [rows[0], rows[2].relocated("train/all.tar", len(first))])
    (issue,) = [told for told in issues(root) if "target" not in told.what]
    assert (issue.what, issue.got) == (f"clip {ADA} is not whole", "0 to 64, 128 to 130")

    (root / "train" / "all.tar").write_bytes(second + first + third + TAR_END)
    moved = [rows[1].relocated("train/all.tar", 0), rows[0].relocated("train/all.tar", len(second)), rows[2]]
    finish(root, moved)
    assert [(told.sample, told.what) for told in issues(root)] == [
        (f"{ADA}-0000", "not in the order of clips and chunks")
    ]


def contents(root: Path, row: SampleRow) -> dict[str, bytes]:
    content = (root / row.shard).read_bytes()
    return {
        name: content[slice(start := place(row, name)[0], start + place(row, name)[1])] for name in row.member_names
    }


def write_tar(root: Path, row: SampleRow, members: list[tuple[str, bytes]], key: str = "") -> None:
    entries = [tar_entry(f"{key or row.key}.{name}", data) for name, data in members]
    (root / row.shard).write_bytes(b"".join(entries) + TAR_END)


@pytest.mark.parametrize("indexed", [True, False])
def test_members_in_another_order_twice_or_of_no_schema_are_found(dataset, indexed):
    root, rows = dataset
    row = rows[CY]
    members = list(contents(root, row).items())
    if not indexed:
        (root / "index.parquet").unlink()

    def told() -> set[tuple[str, str, str]]:
        return {(issue.sample, issue.member, issue.what) for issue in issues(root)}

    write_tar(root, row, [members[0], *members[:0:-1]])
    assert (row.key, "", "members twice or not in the schema's order") in told()
    write_tar(root, row, [*members, members[-1]])
    assert (row.key, "", "members twice or not in the schema's order") in told()
    write_tar(root, row, [*members, ("000.evil.bin", b"")])
    assert (row.key, "000.evil.bin", "not in the schema") in told()
    write_tar(root, row, members[:-1])
    assert (row.key, members[-1][0], "missing") in told()
    write_tar(root, row, members[1:])
    assert (row.key, "meta.json", "missing") in told()
    write_tar(root, row, members, key=f"{CY}-0001")
    assert (f"{CY}-0001", "meta.json", "belongs to another sample") in told()


def test_samples_that_are_mixed_up_are_found(dataset):
    root, rows = dataset
    row = rows[CY]
    members = contents(root, row)
    entries = [tar_entry(f"{row.key}.{name}", data) for name, data in members.items()]
    stranger = tar_entry("x.meta.json", members["meta.json"])
    (root / row.shard).write_bytes(entries[0] + stranger + b"".join(entries[1:]) + TAR_END)
    assert (row.key, "its members are not together") in {(told.sample, told.what) for told in issues(root)}


def test_more_or_fewer_depth_scales_than_depth_maps_are_found(dataset):
    root, rows = dataset
    meta = json.loads(contents(root, rows[ADA])["meta.json"])
    replaced(root, rows[ADA], "meta.json", dump_meta(meta | {"depth_scale": [1.0, 2.0]}))
    (issue,) = issues(root)
    assert (issue.member, issue.what, issue.expected, issue.got) == (
        "meta.json",
        "depth_scale",
        "1 numbers",
        "2",
    )


def replaced(root: Path, row: SampleRow, member: str, data: bytes) -> None:
    """Put other bytes in the place of a member, with a tar, an index and a card that vouch for them."""
    parts = [
        tar_entry(f"{row.key}.{name}", data if name == member else content)
        for name, content in contents(root, row).items()
    ]
    tar = root.parent / "changed.tar"
    tar.write_bytes(b"".join(parts) + TAR_END)
    (root / row.shard).write_bytes(tar.read_bytes())
    (changed,) = scan_tar(tar)
    kept = [other for other in iterate_rows(read_index(root)) if other.key != row.key]
    (root / "examples.jpg").unlink()
    finish(root, [*kept, replace(changed, shard=row.shard)], examples="")


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
        ("audio.flac", sound_of(3), "1920 audio samples, expected 1280"),
        ("audio.flac", b"fLaC", "cannot be decoded as FLAC"),
    ],
)
def test_members_that_do_not_decode_to_what_they_should_are_found_unless_fast(dataset, member, data, what):
    root, rows = dataset
    replaced(root, rows[ADA], member, data)
    (issue,) = issues(root)
    assert (issue.file, issue.sample, issue.member) == (rows[ADA].shard, f"{ADA}-0000", member)
    assert what in issue.what
    assert issues(root, fast=True) == []


def test_metadata_that_is_not_written_as_it_should_be_is_found(dataset):
    root, rows = dataset
    meta = json.loads(contents(root, rows[ADA])["meta.json"])
    replaced(root, rows[ADA], "meta.json", json.dumps(meta).encode())
    (issue,) = issues(root, fast=True)
    assert (issue.member, issue.what) == ("meta.json", "not as it is written: sorted keys, no spaces")


def test_the_card_is_held_against_the_index(dataset):
    root, _ = dataset
    card = json.loads((root / "card.json").read_bytes())
    card["splits"]["train"]["clips"] = 4
    (root / "card.json").write_text(json.dumps(card))
    (issue,) = issues(root)
    assert str(issue) == "card.json: splits.train.clips: not what the index gives: got 4, expected 3"
    card["splits"]["train"]["clips"] = 3
    (root / "card.json").write_text(json.dumps(card))
    assert [str(issue) for issue in issues(root)] == ["card.json: not as it is written: sorted keys, two spaces"]
    edit(root / "CARD.md", lambda text: text.extend(b"More.\n"))
    assert [issue.file for issue in issues(root)] == ["card.json", "CARD.md"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ShardError, match="no such folder"):
        verify(tmp_path / "nowhere")


def test_examples_that_the_shards_do_not_give_are_found(dataset):
    root, rows = dataset
    other = images.encode_rgb(np.full((256, 384, 3), 77, np.uint8), 90)
    assert images.decode_rgb((root / "examples.jpg").read_bytes()).shape == (256, 384, 3)
    stated = json.loads((root / "card.json").read_bytes())["examples"]
    (root / "examples.jpg").write_bytes(other)
    (issue,) = issues(root)
    assert (issue.file, issue.expected) == ("examples.jpg", stated)
    write_card(root, rows.values(), replace(CONTEXT, examples=hashlib.sha256(other).hexdigest()))
    (issue,) = issues(root)
    assert str(issue) == "examples.jpg: not the image that the shards give"


def test_a_wrong_hash_of_the_examples_is_the_cards_fault(dataset):
    root, rows = dataset
    write_card(root, rows.values(), replace(CONTEXT, examples="0" * 64))
    assert [issue.file for issue in issues(root)] == ["card.json"]


def test_examples_of_another_jpeg_encoder_are_a_note(dataset):
    root, rows = dataset
    content = images.encode_rgb(images.decode_rgb((root / "examples.jpg").read_bytes()), 98)
    (root / "examples.jpg").write_bytes(content)
    write_card(root, rows.values(), replace(CONTEXT, examples=hashlib.sha256(content).hexdigest()))
    result = verify(root)
    assert result.issues == []
    assert result.notes == ["examples.jpg: shows what the shards hold; another version of OpenCV wrote it"]


def test_examples_are_there_if_and_only_if_the_card_names_them(dataset):
    root, rows = dataset
    content = (root / "examples.jpg").read_bytes()
    (root / "examples.jpg").unlink()
    assert [str(issue) for issue in issues(root)] == ["examples.jpg: missing, but the card names it"]
    (root / "examples.jpg").write_bytes(content)
    write_card(root, rows.values(), replace(CONTEXT, examples=""))
    assert ("examples.jpg", "a file that does not belong here") in [(issue.file, issue.what) for issue in issues(root)]
