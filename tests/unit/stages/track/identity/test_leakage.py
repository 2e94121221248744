"""Who is found in two parts: by name, by face, and who is not."""

from pathlib import Path

import pytest

from mggtalk.records import Split, TrackedVideo
from mggtalk.stages.ingest.splits import split_of
from mggtalk.stages.tables import CLIPS_FILE, read_rows
from mggtalk.stages.track.identity.clustering import CHANGED_PERSON
from mggtalk.stages.track.identity.leakage import (
    CheckedClip,
    Look,
    SharedIdentity,
    SplitCount,
    checked_clips,
    find_split_leakage,
)
from mggtalk.stages.track.identity.resolution import ClipIdentity
from mggtalk.stages.track.tables import ClipRow, write_clip_table
from tests.support.footage import bare_clip, record_of

TRAIN, VAL, TEST = Split.TRAIN, Split.VAL, Split.TEST


def clip(file, identity, split, face=None, number=0, change=0.0):
    embedding = () if face is None else (float(face), 0.0)
    return CheckedClip(f"{file:016x}-f{number:06d}", f"{file}.mp4", identity, split, 36.0, embedding, change)


def check(*clips, **options):
    return find_split_leakage(clips, 0.1, 0.1, **options)


def test_parts_are_counted():
    report = check(clip(1, "ada", TRAIN), clip(1, "ada", TRAIN, number=9), clip(2, "bob", TEST))
    assert report.splits == {
        "train": SplitCount(1, 2, 0.02),
        "val": SplitCount(0, 0, 0.0),
        "test": SplitCount(1, 1, 0.01),
    }
    assert (report.num_leaks, report.num_embedded, report.num_clips) == (0, 0, 3)


def test_an_identity_in_two_parts_is_a_leak():
    report = check(clip(1, "ada", TRAIN), clip(2, "ada", TEST), clip(3, "ada", TEST), clip(4, "bob", VAL))
    assert report.shared == (SharedIdentity("ada", {"train": 1, "test": 2}, ("1.mp4", "2.mp4", "3.mp4")),)
    assert report.num_leaks == 1


def test_one_face_under_two_names_in_two_parts_is_a_leak_and_its_closest_pair_is_shown():
    report = check(
        clip(1, "ada", TRAIN, 0.0), clip(2, "ada", TRAIN, 0.2), clip(3, "eve", TEST, 0.3), clip(4, "bob", TEST, 9)
    )
    (leak,) = report.leaked_faces
    assert leak.distance == pytest.approx(0.1)
    assert (leak.first, leak.second) == (Look("ada", TRAIN, "2.mp4"), Look("eve", TEST, "3.mp4"))
    assert report.num_leaks == 1


def test_one_face_under_two_names_in_one_part_is_no_leak_but_said():
    report = check(clip(1, "ada", TRAIN, 0.0), clip(2, "eve", TRAIN, 0.3))
    assert report.num_leaks == 0
    assert [(pair.first.identity, pair.second.identity) for pair in report.twins] == [("ada", "eve")]


def test_a_person_in_two_parts_is_reported_once_and_not_as_a_pair_with_herself():
    report = check(clip(1, "ada", TRAIN, 0.0), clip(2, "ada", TEST, 0.1))
    assert (len(report.shared), report.leaked_faces, report.twins) == (1, (), ())


def test_the_closest_that_pass_for_two_people_are_shown():
    report = check(
        clip(1, "ada", TRAIN, 0.0), clip(2, "bob", TEST, 2.0), clip(3, "eve", VAL, 1.2), clip(4, "jo", VAL, 2.7)
    )
    assert report.closest_apart is not None
    assert report.closest_apart.distance == pytest.approx(0.7)
    assert {report.closest_apart.first.identity, report.closest_apart.second.identity} == {"jo", "bob"}


def test_the_distance_can_be_chosen():
    clips = (clip(1, "ada", TRAIN, 0.0), clip(2, "eve", TEST, 0.5))
    assert check(*clips).num_leaks == 0
    assert check(*clips, same_person=0.6).num_leaks == 1


def test_clips_of_one_file_are_compared_by_their_mean():
    """The nearest two clips alone are within reach of each other; one noisy clip accuses nobody."""
    clips = (clip(1, "ada", TRAIN, 0.0), clip(1, "ada", TRAIN, 0.3, number=5), clip(2, "eve", TEST, 0.6))
    assert check(*clips).num_leaks == 0


def test_two_faces_under_one_name_are_said():
    report = check(clip(1, "ada", TRAIN, 0.0), clip(2, "ada", TRAIN, 3.0), clip(3, "bob", TRAIN, 9.0))
    (pair,) = report.strangers
    assert (pair.first.video, pair.second.video, pair.distance) == ("1.mp4", "2.mp4", 3.0)


def test_a_clip_in_which_the_person_changes_is_said():
    clips = (clip(1, "ada", TRAIN, 0.0, change=CHANGED_PERSON), clip(2, "bob", TRAIN, 9.0, change=0.3))
    assert check(*clips).changed == ("1.mp4",)


def test_identities_in_another_part_than_their_hash_says_are_counted():
    names = [f"person {number}" for number in range(40)]
    placed = [clip(number, name, split_of(name, 0.1, 0.1)) for number, name in enumerate(names)]
    moved = clip(99, "person 99", next(part for part in Split if part is not split_of("person 99", 0.1, 0.1)))
    assert check(*placed).not_by_hash == ()
    assert check(*placed, moved).not_by_hash == ("person 99",)


def test_many_people_are_compared_in_blocks_and_each_leak_is_found():
    clips = [clip(number, f"train {number}", TRAIN, 2.0 * number) for number in range(1500)]
    clips += [clip(5000 + number, f"test {number}", TEST, 2.0 * number + 0.1) for number in (0, 1023, 1024, 1499)]
    report = check(*clips)
    assert {pair.second.identity for pair in report.leaked_faces} == {"test 0", "test 1023", "test 1024", "test 1499"}
    assert report.twins == ()


def test_an_empty_data_set_is_clean():
    assert check().num_leaks == 0


def test_resolved_identities_count_where_there_are_any(tmp_path):
    record = record_of(Path(__file__), video_id="0" * 16, identity="video:0", name="1.mp4")
    first, second = (bare_clip(record, start, 50) for start in (0, 50))
    write_clip_table(tmp_path / CLIPS_FILE, [TrackedVideo(record, (first, second), ())])
    people = {first.clip_id: ClipIdentity(first.clip_id, "1.mp4", "video:0", "ada", TEST, "", (0.5,), 0.2, 8)}
    assert checked_clips(read_rows(tmp_path / CLIPS_FILE, ClipRow), people) == [
        CheckedClip(first.clip_id, "1.mp4", "ada", TEST, 2.0, (0.5,), 0.2),
        CheckedClip(second.clip_id, "1.mp4", "video:0", TRAIN, 2.0),
    ]
