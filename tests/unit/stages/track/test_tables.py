from dataclasses import fields, replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from mggtalk.errors import StageError
from mggtalk.records import ClipTrack, Rejected, RejectReason, Segment, Split, TrackedVideo
from mggtalk.stages.track.tables import TRACK_VERSION, dump_track, load_track, write_clip_table, write_segment_table
from tests.support.footage import record_of


def made_clip(video, start, num_frames, seed=0):
    random = np.random.default_rng(seed)

    def numbers(*shape):
        return random.normal(size=(num_frames, *shape)).astype(np.float32)

    return ClipTrack(
        clip_id=f"{video.video_id}-f{start:06d}",
        video=video,
        start_frame=start,
        fps=25.0,
        landmark_set="mediapipe_478",
        expression_names=("jawOpen", "eyeBlinkLeft"),
        intrinsics=random.normal(size=(3, 3)),
        times_s=start / 25 + np.arange(num_frames) / 25,
        frame_index=(start + np.arange(num_frames)).astype(np.int32),
        landmarks_px=numbers(478, 2),
        landmarks=numbers(478, 3),
        neutral_landmarks=random.normal(size=(478, 3)).astype(np.float32),
        head_to_camera=numbers(4, 4),
        expression=numbers(2),
        face_size=numbers(),
        sharpness=numbers(),
        confidence=numbers(),
        hand_over_face=numbers(),
        num_faces=np.ones(num_frames, np.float32),
    )


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "talk äöü.mp4"
    path.write_bytes(b"x")
    return record_of(path, split=Split.TEST, has_audio=True)


@pytest.fixture
def tracked(video):
    """Two clips with frames dropped between them."""
    segments = (
        Segment(video.video_id, 0, 7, f"{video.video_id}-f000000", None),
        Segment(video.video_id, 7, 3, None, RejectReason.NO_FACE),
        Segment(video.video_id, 10, 4, f"{video.video_id}-f000010", None),
    )
    return TrackedVideo(video, (made_clip(video, 0, 7), made_clip(video, 10, 4, seed=1)), segments)


def assert_same(first, second):
    assert first.video == second.video
    assert first.segments == second.segments
    assert len(first.clips) == len(second.clips)
    for clip, other in zip(first.clips, second.clips, strict=True):
        for field in fields(ClipTrack):
            value, expected = getattr(clip, field.name), getattr(other, field.name)
            if isinstance(expected, np.ndarray):
                assert value.dtype == expected.dtype, field.name
                np.testing.assert_array_equal(value, expected, err_msg=field.name)
            else:
                assert value == expected, field.name


def written(path, result):
    path.write_bytes(dump_track(result))
    return path


def test_what_was_dumped_is_loaded_again(tracked, tmp_path):
    loaded, part = load_track(written(tmp_path / "a.parquet", tracked))
    assert_same(loaded, tracked)
    assert part == 0


def test_a_rejection_survives_the_round_trip(tmp_path):
    rejected = Rejected("talk äöü.mp4", RejectReason.EXTREME_POSE, "30 frames EXTREME_POSE")
    path = tmp_path / "a.parquet"
    path.write_bytes(dump_track(rejected, part=3))
    assert load_track(path) == (rejected, 3)


def test_the_part_of_a_long_video_survives_the_round_trip(tracked, tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(dump_track(replace(tracked, part=2), part=2))
    loaded, part = load_track(path)
    assert isinstance(loaded, TrackedVideo)
    assert (loaded.part, part) == (2, 2)


def test_equal_tracks_give_equal_bytes_and_others_do_not(tracked):
    assert dump_track(tracked) == dump_track(replace(tracked))
    moved = replace(tracked.clips[1], sharpness=tracked.clips[1].sharpness + 1)
    assert dump_track(tracked) != dump_track(replace(tracked, clips=(tracked.clips[0], moved)))


def test_any_parquet_reader_sees_a_row_a_frame(tracked, tmp_path):
    table = parquet.read_table(written(tmp_path / "a.parquet", tracked))
    assert len(table) == 11
    assert table["clip_id"].to_pylist()[6:8] == [clip.clip_id for clip in tracked.clips]
    assert table["frame_index"].to_pylist() == [*range(7), *range(10, 14)]
    np.testing.assert_array_equal(np.array(table["landmarks"].to_pylist()[8]), tracked.clips[1].landmarks[1].ravel())


@pytest.mark.parametrize(
    "damage",
    [lambda data: b"", lambda data: data[: len(data) // 2], lambda data: data[:-4] + b"text", lambda data: data[:-9]],
    ids=["empty", "half", "other magic", "end missing"],
)
def test_a_damaged_file_is_named(tracked, tmp_path, damage):
    path = tmp_path / "clip.parquet"
    path.write_bytes(damage(dump_track(tracked)))
    with pytest.raises(StageError, match=r"clip\.parquet: not a track file"):
        load_track(path)


@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_no_flipped_bits_become_other_landmarks(tmp_path_factory, place, flip):
    """Either the damage is found, or it lay where no content is."""
    path = tmp_path_factory.getbasetemp() / "flipped.parquet"
    path.write_bytes(b"x")
    video = record_of(path)
    tracked = TrackedVideo(video, (made_clip(video, 0, 7),), (Segment(video.video_id, 0, 7, "a", None),))
    data = bytearray(dump_track(tracked))
    data[int(place * len(data))] ^= flip
    path.write_bytes(bytes(data))
    try:
        loaded, _ = load_track(path)
    except StageError:
        return
    assert isinstance(loaded, TrackedVideo)
    for name in ("landmarks", "landmarks_px", "head_to_camera", "expression"):
        np.testing.assert_array_equal(getattr(loaded.clips[0], name), getattr(tracked.clips[0], name))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(StageError, match=r"nowhere\.parquet"):
        load_track(tmp_path / "nowhere.parquet")


@pytest.mark.parametrize("content", [None, b"{", b"[]", b"{}", b'{"version": 2}'])
def test_a_parquet_file_that_is_no_track_is_named(tmp_path, content):
    path = tmp_path / "other.parquet"
    table = pa.table({"clip_id": ["a"]})
    parquet.write_table(table if content is None else table.replace_schema_metadata({"mggtalk": content}), path)
    with pytest.raises(StageError, match=r"other\.parquet: not a track file"):
        load_track(path)


def test_another_version_is_refused(tracked, tmp_path):
    path = written(tmp_path / "a.parquet", tracked)
    table = parquet.read_table(path)
    newer = table.schema.metadata[b"mggtalk"].replace(f'"version": {TRACK_VERSION}'.encode(), b'"version": 99')
    assert newer != table.schema.metadata[b"mggtalk"]
    parquet.write_table(table.replace_schema_metadata({"mggtalk": newer}), path)
    with pytest.raises(StageError, match=f"track version 99, expected {TRACK_VERSION}; run the track stage again"):
        load_track(path)


def test_the_clip_table_has_a_row_a_clip_in_order_of_ids(tracked, tmp_path):
    video = replace(tracked.video, video_id="00aa", name="other.mp4", identity="else", split=Split.TRAIN)
    other = TrackedVideo(video, (made_clip(video, 0, 3),), ())
    write_clip_table(tmp_path / "clips.parquet", [tracked, other])
    rows = parquet.read_table(tmp_path / "clips.parquet").to_pylist()
    assert [row["clip_id"] for row in rows] == [
        "00aa-f000000",
        "0123456789abcdef-f000000",
        "0123456789abcdef-f000010",
    ]
    assert [row["num_frames"] for row in rows] == [3, 7, 4]
    assert [row["split"] for row in rows] == ["train", "test", "test"]
    assert [row["name"] for row in rows] == ["other.mp4", "talk äöü.mp4", "talk äöü.mp4"]
    assert rows[2]["start_s"] == pytest.approx(0.4)
    assert rows[2]["sharpness"] == pytest.approx(float(tracked.clips[1].sharpness.mean()), rel=1e-6)


def test_a_clip_table_without_clips_has_its_columns(tmp_path):
    write_clip_table(tmp_path / "clips.parquet", [])
    table = parquet.read_table(tmp_path / "clips.parquet")
    assert len(table) == 0
    assert {"clip_id", "identity", "num_frames"} <= set(table.column_names)


def test_the_segment_table_covers_every_frame_with_its_fate(tracked, tmp_path):
    write_segment_table(tmp_path / "segments.parquet", [tracked])
    rows = parquet.read_table(tmp_path / "segments.parquet").to_pylist()
    assert [row["start_frame"] for row in rows] == [segment.start_frame for segment in tracked.segments]
    assert [row["num_frames"] for row in rows] == [segment.num_frames for segment in tracked.segments]
    statuses = [("KEPT" if segment.reason is None else str(segment.reason)) for segment in tracked.segments]
    assert [row["outcome"] for row in rows] == statuses
    assert [row["clip_id"] or None for row in rows] == [segment.clip_id for segment in tracked.segments]
