import random
import tarfile
from pathlib import Path

import pytest

from mggtalk.errors import ShardError
from mggtalk.files import atomic_path
from mggtalk.records import ShardSample, Split
from mggtalk.shards import SampleRow, Shards, StagedClip, open_staged, write_index, write_shards, write_staged_clip
from mggtalk.shards.index import iterate_rows, read_index
from mggtalk.shards.writing.staging import scan_tar
from tests.support.shard_samples import make_clip

TARGET = 60_000
CLIPS = [
    make_clip(f"{number * 53 % 256:02x}{number:014x}-f000000", split=split, num_frames=number % 3 + 1)
    for number, split in enumerate([Split.TRAIN] * 8 + [Split.TEST] * 2)
]


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_same_bytes_whatever_the_order_of_arrival(tmp_path, write_dataset):
    write_dataset(tmp_path / "first", CLIPS, TARGET)
    shuffled = CLIPS.copy()
    random.Random(0).shuffle(shuffled)
    write_dataset(tmp_path / "second", shuffled, TARGET)
    first = contents(tmp_path / "first")
    assert first == contents(tmp_path / "second")
    assert len(first) > 4


def test_encoding_twice_gives_the_same_bytes(tmp_path):
    paths = [write_staged_clip(tmp_path / name, CLIPS[2].samples()).path for name in ("a.tar", "b.tar")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_new_clip_changes_one_shard_only(tmp_path, write_dataset):
    write_dataset(tmp_path / "shards", CLIPS[1:], TARGET)
    before = contents(tmp_path / "shards")
    write_dataset(tmp_path / "shards", CLIPS, TARGET)
    after = contents(tmp_path / "shards")
    kept = [name for name in before if after.get(name) == before[name]]
    gone_or_changed = [name for name in before if name.endswith(".tar") and name not in kept]
    assert len(gone_or_changed) <= 1
    assert len(kept) >= 3


def test_an_empty_split_has_no_shards_and_stale_ones_go(tmp_path, write_dataset):
    write_dataset(tmp_path / "shards", CLIPS, TARGET)
    assert (tmp_path / "shards/test").is_dir()
    left_by_a_kill = tmp_path / "shards/train/00.tar.123.partial"
    left_by_a_kill.write_bytes(b"half")
    write_dataset(tmp_path / "shards", CLIPS[:2])
    assert list(contents(tmp_path / "shards")) == ["index.parquet", "train/all.tar"]
    assert not (tmp_path / "shards/test").exists()


def test_one_clip_lies_in_one_shard_however_small_the_target(tmp_path, write_dataset):
    long = make_clip("ab" * 8 + "-f000000", num_frames=130, size=8)
    rows = write_dataset(tmp_path / "shards", [long], 1)
    assert [(row.shard, row.start_frame) for row in rows] == [("train/all.tar", start) for start in (0, 64, 128)]


def test_clips_of_one_video_split_by_what_follows_its_hash(tmp_path, write_dataset):
    clips = [make_clip(f"{'ab' * 8}-f00{start:04d}") for start in (0, 500)]
    rows = write_dataset(tmp_path / "shards", clips, 1)
    assert [row.shard for row in rows] == [f"train/{'ab' * 8}-f000.0{bit}.tar" for bit in "01"]


def clips_in(root: Path) -> list[StagedClip]:
    by_clip: dict[str, list[SampleRow]] = {}
    for row in iterate_rows(read_index(root)):
        by_clip.setdefault(row.clip_id, []).append(row)
    return [StagedClip(root / rows[0].shard, tuple(rows)) for rows in by_clip.values()]


def test_staged_clips_are_copied_from_old_shards_as_bytes(tmp_path, write_dataset):
    write_dataset(tmp_path / "old", CLIPS, TARGET)
    write_index(tmp_path / "new", write_shards(tmp_path / "new", clips_in(tmp_path / "old"), target_bytes=TARGET))
    assert contents(tmp_path / "new") == contents(tmp_path / "old")


@pytest.mark.parametrize("old_target", [1, TARGET, 10**9])
def test_staged_clips_may_lie_in_the_shards_that_are_replaced(tmp_path, write_dataset, old_target):
    write_dataset(tmp_path / "expected", CLIPS, TARGET)
    root = tmp_path / "shards"
    write_dataset(root, CLIPS[1:], old_target)
    clips = [*clips_in(root), write_staged_clip(tmp_path / "new.tar", CLIPS[0].samples())]
    write_index(root, write_shards(root, clips, target_bytes=TARGET))
    assert contents(root) == contents(tmp_path / "expected")


def test_a_shard_can_be_indexed_from_its_bytes_alone(tmp_path, write_dataset):
    rows = write_dataset(tmp_path / "shards", CLIPS[:3])
    assert [row.relocated("train/all.tar", row.offset) for row in scan_tar(tmp_path / "shards/train/all.tar")] == list(
        rows
    )


def test_an_opened_clip_is_what_was_staged(tmp_path):
    staged = write_staged_clip(tmp_path / "clip.tar", CLIPS[0].samples())
    assert open_staged(staged.path) == staged


def test_the_index_is_gone_while_shards_change(tmp_path, write_dataset):
    write_dataset(tmp_path / "shards", CLIPS)
    staged = write_staged_clip(tmp_path / "clip.tar", CLIPS[0].samples())
    write_shards(tmp_path / "shards", [staged], target_bytes=TARGET)
    with pytest.raises(ShardError, match="it is written last, so writing these shards may not have finished"):
        Shards(tmp_path / "shards")


def test_a_failure_leaves_no_file_under_the_final_name(tmp_path):
    def broken_samples():
        yield from make_clip("0" * 16, num_frames=70, size=8).samples()
        raise RuntimeError("decoder died")

    with pytest.raises(RuntimeError, match="decoder died"):
        write_staged_clip(tmp_path / "staging/clip.tar", broken_samples())
    assert list((tmp_path / "staging").iterdir()) == []


def test_atomic_path_keeps_the_old_file_until_the_new_one_is_whole(tmp_path):
    (tmp_path / "file").write_text("old")
    with atomic_path(tmp_path / "file") as partial:
        partial.write_text("new")
        assert (tmp_path / "file").read_text() == "old"
    assert contents(tmp_path) == {"file": b"new"}


def test_a_staged_clip_that_changed_is_not_assembled(tmp_path):
    staged = write_staged_clip(tmp_path / "clip.tar", CLIPS[0].samples())
    data = bytearray(staged.path.read_bytes())
    data[3000] ^= 1
    staged.path.write_bytes(data)
    with pytest.raises(ShardError, match=rf"clip\.tar: sample {staged.rows[0].key}: changed since it was staged"):
        write_shards(tmp_path / "shards", [staged], target_bytes=TARGET)
    assert contents(tmp_path / "shards") == {}


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.95])
def test_a_truncated_staged_clip_is_refused(tmp_path, keep):
    path = write_staged_clip(tmp_path / "clip.tar", CLIPS[2].samples()).path
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(ShardError, match=r"clip\.tar"):
        open_staged(path)


def test_a_damaged_header_of_a_staged_clip_is_noticed(tmp_path):
    staged = write_staged_clip(tmp_path / "clip.tar", CLIPS[2].samples())
    data = bytearray(staged.path.read_bytes())
    data[staged.rows[0].member_offsets[4] - 500] ^= 1
    staged.path.write_bytes(data)
    with pytest.raises(ShardError, match=r"members missing or not in schema: 000\.cloud\.npz, 000\.depth\.png"):
        open_staged(staged.path)


def without(sample: ShardSample, member: str) -> ShardSample:
    members = {name: data for name, data in sample.members.items() if name != member}
    fields = {name: getattr(sample, name) for name in ShardSample.__dataclass_fields__}
    return ShardSample(**{**fields, "members": members})


def test_incomplete_clips_are_refused(tmp_path):
    chunks = list(make_clip("0" * 16 + "-f0", num_frames=130, size=8).samples())
    other = list(make_clip("1" * 16, num_frames=1, size=8).samples())
    wrong = {
        "begins at frame 128 of the clip, expected 64": [chunks[0], chunks[2]],
        "got 128 frames, expected 130": chunks[:2],
        "expected samples of one clip": [*chunks, *other],
        "expected samples of one clip, got \\[\\]": [],
        r"members missing or not in schema: 000\.head\.png": [without(other[0], "000.head.png")],
    }
    for message, samples in wrong.items():
        with pytest.raises(ValueError, match=message):
            write_staged_clip(tmp_path / "clip.tar", samples)
        assert not (tmp_path / "clip.tar").exists()


def test_a_clip_given_twice_is_refused(tmp_path):
    staged = [write_staged_clip(tmp_path / name, CLIPS[0].samples()) for name in ("a.tar", "b.tar")]
    with pytest.raises(ValueError, match=r"given twice, in .*a\.tar and .*b\.tar"):
        write_shards(tmp_path / "shards", staged, target_bytes=TARGET)


def test_tar_members_are_sorted_meta_first_and_anonymous(tmp_path, write_dataset):
    write_dataset(tmp_path / "shards", [CLIPS[1], CLIPS[0]])
    with tarfile.open(tmp_path / "shards/train/all.tar") as archive:
        members = archive.getmembers()
    keys = list(dict.fromkeys(member.name.partition(".")[0] for member in members))
    assert keys == sorted(keys)
    assert [member.name.partition(".")[2] for member in members if member.name.startswith(keys[0])] == [
        "meta.json",
        "tracks.npz",
        "000.rgb.jpg",
        "000.head.png",
        "000.depth.png",
        "000.normal.png",
        "000.cloud.npz",
    ]
    assert {(m.uid, m.gid, m.uname, m.gname, m.mode, m.mtime) for m in members} == {(0, 0, "", "", 0o644, 0)}
