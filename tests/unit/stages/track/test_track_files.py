"""What became of a video from what became of its parts."""

from dataclasses import replace

import pytest

from mggtalk.errors import StageError
from mggtalk.records import Rejected, RejectReason, Segment, TrackedVideo, VideoPart
from mggtalk.stages.track.stage import PART_S, num_parts
from mggtalk.stages.track.track_files import TrackFile, check_complete, outcome, part_outcome, parts_of
from tests.support.footage import bare_clip, record_of


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "talk.mp4"
    path.write_bytes(b"x")
    return record_of(path, size_bytes=10**9, duration_s=2.5 * PART_S)


def lost(video, start, num_frames, reason):
    return Segment(video.video_id, start, num_frames, None, reason)


def part(video, number, *segments, clips=()):
    return TrackedVideo(video, tuple(clips), tuple(segments), number)


def test_clips_of_any_part_keep_the_video(video):
    clip = bare_clip(video, 2000, 30)
    kept = Segment(video.video_id, 2000, 30, clip.clip_id, None)
    parts = [part(video, 0, lost(video, 0, 2000, RejectReason.NO_FACE)), part(video, 1, kept, clips=[clip])]
    whole = outcome(video, [*parts, Rejected("talk.mp4#2", RejectReason.CRASHED, "killed")])
    assert isinstance(whole, TrackedVideo)
    assert whole.clips == (clip,)
    assert [segment.num_frames for segment in whole.segments] == [2000, 30]


def test_without_a_clip_what_stopped_a_part_is_the_reason(video):
    parts = [part(video, 0, lost(video, 0, 9, RejectReason.NO_FACE)), Rejected("x", RejectReason.CRASHED, "killed")]
    assert outcome(video, parts) == Rejected("talk.mp4", RejectReason.CRASHED, "killed")


def test_else_the_reason_that_cost_most_frames_in_all_parts(video):
    parts = [
        part(video, 0, lost(video, 0, 60, RejectReason.NO_FACE)),
        part(video, 1, lost(video, 60, 50, RejectReason.TOO_SHORT), lost(video, 110, 20, RejectReason.TOO_SHORT)),
        part(video, 2),
    ]
    expected = Rejected("talk.mp4", RejectReason.TOO_SHORT, "70 frames TOO_SHORT, 60 frames NO_FACE")
    assert outcome(video, parts) == expected


def test_a_part_without_frames_is_no_loss_and_a_video_without_any_is(video):
    """Of containers without an index the first part has all frames, whatever length they state."""
    empty = part(video, 1)
    assert part_outcome(VideoPart(video, 1, 3), [empty]) is empty
    reasoned = part(video, 0, lost(video, 0, 9, RejectReason.NO_FACE))
    assert part_outcome(VideoPart(video, 0, 3), [reasoned]) == outcome(video, [reasoned, empty])
    assert outcome(video, [empty, part(video, 2)]) == Rejected("talk.mp4", RejectReason.DECODE_ERROR, "no frames")


def test_a_missing_part_is_named(video):
    files = [TrackFile(video, number, part(video, number), "0" * 64) for number in (0, 2)]
    with pytest.raises(StageError, match=r"1 videos have no track file \('talk\.mp4#1'"):
        check_complete({video.video_id: video}, files, [])
    check_complete({video.video_id: video}, files, [Rejected("talk.mp4", RejectReason.CRASHED)])


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({}, 3),
        ({"duration_s": 0.0}, 1),  # not stated: all is the last part
        ({"duration_s": 5.0}, 1),
        ({"start_s": PART_S, "end_s": 1.9 * PART_S}, 1),
        ({"start_s": 2 * PART_S}, 1),
        ({"duration_s": 1e12, "size_bytes": 100_000}, 4),  # no file of 100 kB lasts for ages
        ({"duration_s": float("inf"), "size_bytes": 10}, 1),
    ],
)
def test_a_long_video_has_parts_of_which_the_last_is_open(video, fields, parts):
    changed = replace(video, **fields)
    assert num_parts(changed) == parts
    names = [each.name for each in parts_of(changed)]
    assert names == (["talk.mp4"] if parts == 1 else [f"talk.mp4#{number}" for number in range(parts)])
