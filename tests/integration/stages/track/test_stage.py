"""The stage `track` on real faces, and every reason for which it drops them."""

from dataclasses import replace

import numpy as np
import pytest

from mggtalk.config import validate
from mggtalk.errors import ParamsError, VideoError
from mggtalk.geometry.head.head_pose import rotation_angles
from mggtalk.geometry.head.landmark_sets import landmark_set
from mggtalk.records import RejectReason, Segment, TrackedVideo, VideoPart
from mggtalk.stages.track.clip_segmentation import main_reason
from mggtalk.stages.track.config import TrackConfig
from mggtalk.stages.track.stage import TrackStage
from mggtalk.stages.track.tables import dump_track, load_track
from tests.support.footage import TRACK, first_frames, record_of, tracked_video, write_frames
from tests.support.media import corrupted_copy, write_video
from tests.unit.stages.track.test_tables import assert_same

BRIEF_S = 0.48  # twelve frames


def track(record, models, **changes):
    return tracked_video(record, models, replace(TRACK, **changes))


@pytest.fixture
def brief(sample_videos):
    """The first frames of the man."""
    return record_of(sample_videos["single_face.mp4"], end_s=BRIEF_S)


def test_a_video_of_one_face_is_one_clip_of_all_frames(tracked_face):
    (clip,) = tracked_face.clips
    assert clip.num_frames == 60
    assert clip.clip_id == "0123456789abcdef-f000000"
    assert tracked_face.segments == (Segment("0123456789abcdef", 0, 60, clip.clip_id, None),)
    assert clip.frame_index[0] == 0
    assert (np.diff(clip.frame_index) >= 1).all()
    assert np.diff(clip.times_s) == pytest.approx(0.04, abs=0.03)  # 30 frames per second in truth
    assert clip.expression.shape == (60, len(clip.expression_names))
    assert clip.video == tracked_face.video


def test_a_real_track_survives_the_round_trip(tracked_face, tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(dump_track(tracked_face))
    loaded, _ = load_track(path)
    assert_same(loaded, tracked_face)
    assert dump_track(loaded) == dump_track(tracked_face)


def test_landmarks_project_onto_their_pixels(tracked_face):
    (clip,) = tracked_face.clips
    camera = np.einsum("tij,tnj->tni", clip.head_to_camera[:, :3, :3].astype(float), clip.landmarks)
    pixels = (camera + clip.head_to_camera[:, None, :3, 3]) @ clip.intrinsics.T
    np.testing.assert_allclose(pixels[..., :2] / pixels[..., 2:], clip.landmarks_px, atol=0.01)


def test_the_head_is_found_in_head_space(tracked_face):
    (clip,) = tracked_face.clips
    landmarks = landmark_set(clip.landmark_set)
    assert np.abs(rotation_angles(clip.head_to_camera[:, :3, :3])).max() < 15  # he looks into the camera
    corners = clip.neutral_landmarks[list(landmarks.eye_corners)]
    assert np.linalg.norm(corners[0] - corners[1]) == pytest.approx(8.9, abs=1e-3)
    off_plane = np.abs(clip.landmarks[..., 0] + clip.landmarks[:, landmarks.mirror, 0])[:, :468] / 2
    assert np.median(off_plane) < 0.1
    residual = np.linalg.norm(clip.landmarks - clip.neutral_landmarks, axis=-1)[:, :468]
    assert np.median(residual) < 0.2
    face = np.percentile(clip.landmarks, 50, axis=(0, 1))
    assert clip.head_to_camera[:, 2, 3].mean() - face[2] == pytest.approx(TRACK.camera_distance_cm, rel=0.05)


def test_quality_is_that_of_the_face(tracked_face, sample_videos, track_models, tmp_path):
    (clip,) = tracked_face.clips
    assert (clip.face_size > 150).all()
    assert (clip.face_size < 190).all()
    images = first_frames(sample_videos["single_face.mp4"], 12)
    small = [np.repeat(np.repeat(image[::5, ::5], 5, axis=0), 5, axis=1) for image in images]
    path = write_frames(tmp_path / "blurred.mp4", [_blurred(image) for image in small])
    blurred = track(record_of(path), track_models)
    assert blurred.clips[0].sharpness.mean() < 0.5 * clip.sharpness[:12].mean()


def _blurred(image):
    import cv2

    return cv2.GaussianBlur(image, (0, 0), 4)


def test_two_runs_give_the_same_bytes(brief, track_models):
    stage = TrackStage(replace(TRACK, hands_every_s=0.2), track_models)
    first, second = (dump_track(next(stage(VideoPart(brief)))) for _ in range(2))
    assert first == second


def test_an_interval_is_tracked_by_itself(tracked_face, sample_videos, track_models):
    """Frames and times are those of the whole video; clip frames count from the interval's start."""
    record = record_of(sample_videos["single_face.mp4"], start_s=0.8, end_s=1.4)
    (clip,) = track(record, track_models).clips
    (whole,) = tracked_face.clips
    assert clip.start_frame == 0
    assert 14 <= clip.num_frames <= 16
    assert 0.8 <= clip.times_s[0] < 0.84
    assert clip.times_s[-1] < 1.4
    same = whole.landmarks_px[np.searchsorted(whole.frame_index, clip.frame_index)]
    assert np.abs(same - clip.landmarks_px).mean() < 3


def test_the_part_without_a_face_is_dropped_and_the_rest_kept(sample_videos, track_models):
    # The face is there until 2.4 s.
    result = track(record_of(sample_videos["face_noface.mov"], start_s=1.6, end_s=3.2), track_models)
    (clip,) = result.clips
    assert clip.start_frame == 0
    assert clip.num_frames == pytest.approx(20, abs=1)
    kept, *lost = result.segments
    assert kept.clip_id == clip.clip_id
    assert {segment.reason for segment in lost} == {RejectReason.NO_FACE}
    assert sum(segment.num_frames for segment in result.segments) == 40
    assert [segment.start_frame for segment in lost] == [clip.num_frames]


def test_a_cut_parts_two_clips(sample_videos, track_models, tmp_path):
    images = first_frames(sample_videos["single_face.mp4"], 10)
    # The second shot: the same place in another light.
    shots = images + [255 - (255 - image) // 2 for image in images]
    result = track(record_of(write_frames(tmp_path / "cut.mp4", shots)), track_models)
    assert [(clip.start_frame, clip.num_frames) for clip in result.clips] == [(0, 10), (10, 10)]
    assert [segment.clip_id for segment in result.segments] == [clip.clip_id for clip in result.clips]


def test_a_long_run_is_cut_into_even_clips(brief, track_models):
    result = track(brief, track_models, min_clip_s=0.16, max_clip_s=0.32)
    assert [(clip.start_frame, clip.num_frames) for clip in result.clips] == [(0, 6), (6, 6)]


def rejection(result):
    """What cost a video without clips most frames, and all that cost it some."""
    assert not result.clips
    return main_reason(result.segments)


def test_no_face(sample_videos, track_models):
    result = rejection(track(record_of(sample_videos["no_face.mp4"], end_s=0.8), track_models))
    assert result == (RejectReason.NO_FACE, "20 frames NO_FACE")


def test_no_face_in_a_made_video(track_models, tmp_path):
    result = rejection(track(record_of(write_video(tmp_path / "bars.mp4", 12)), track_models))
    assert result == (RejectReason.NO_FACE, "12 frames NO_FACE")


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        (RejectReason.FACE_TOO_SMALL, {"min_face_px": 250.0}),
        (RejectReason.EXTREME_POSE, {"max_yaw_deg": 0.0}),
        (RejectReason.TOO_SHORT, {"min_clip_s": 1.0}),
        (RejectReason.BLURRED, {"min_sharpness": 1e6}),
    ],
)
def test_a_face_that_the_settings_rule_out(brief, track_models, reason, changes):
    result = rejection(track(brief, track_models, **changes))
    assert result == (reason, f"12 frames {reason}")


def test_multiple_faces_unless_the_second_is_small(sample_videos, track_models, tmp_path):
    images = first_frames(sample_videos["single_face.mp4"], 12)
    path = write_frames(tmp_path / "two.mp4", [np.hstack((image, image)) for image in images])
    reason, detail = rejection(track(record_of(path), track_models))
    assert reason is RejectReason.MULTIPLE_FACES
    assert "MULTIPLE_FACES" in detail

    import cv2

    beside = [
        np.hstack((image, cv2.copyMakeBorder(cv2.resize(image, (416, 234)), 63, 63, 0, 0, cv2.BORDER_REPLICATE)))
        for image in images
    ]
    path = write_frames(tmp_path / "bystander.mp4", beside)
    assert rejection(track(record_of(path), track_models))[0] is reason
    (clip,) = track(record_of(path), track_models, second_face_ratio=0.8).clips
    assert (clip.num_faces == 2).all()  # counted all the same


def test_a_damaged_file_raises_for_the_caller_to_reject(track_models, tmp_path):
    path = tmp_path / "noise.mp4"
    path.write_bytes(b"no video at all" * 100)
    with pytest.raises(VideoError, match=r"noise\.mp4"):
        track(record_of(path), track_models)


@pytest.mark.parametrize(
    ("key", "value"),
    [("fps", 0.0), ("min_face_px", -1.0), ("max_yaw_deg", 200.0), ("second_face_ratio", 1.5), ("min_clip_s", 0.0)],
)
def test_settings_out_of_range_are_named(key, value):
    values = {name: getattr(TRACK, name) for name in TRACK.__dataclass_fields__} | {key: value}
    with pytest.raises(ParamsError, match=rf"params\.yaml: track\.{key}: .* got {value}"):
        validate(values, TrackConfig, "params.yaml: track")


def test_a_longest_clip_that_cannot_be_halved_is_refused():
    values = {name: getattr(TRACK, name) for name in TRACK.__dataclass_fields__} | {"max_clip_s": 0.7}
    with pytest.raises(ParamsError, match=r"max_clip_s: expected at least twice min_clip_s \(0\.4\), got 0\.7"):
        validate(values, TrackConfig, "params.yaml: track")


@pytest.mark.parametrize(("fps", "min_clip_s", "max_clip_s"), [(25.0, 1.0, 10.0), (25.0, 0.5, 1.0), (7.0, 0.21, 0.42)])
def test_rounding_to_frames_keeps_the_longest_clip_twice_the_shortest(fps, min_clip_s, max_clip_s):
    least, most = replace(TRACK, fps=fps, min_clip_s=min_clip_s, max_clip_s=max_clip_s).clip_frames
    assert least == max(round(min_clip_s * fps), 1)
    assert most in (round(max_clip_s * fps), 2 * least)
    assert most >= 2 * least


def parts_tracked(record, models, count, part_s):
    stage = TrackStage(TRACK, models, part_s=part_s)
    results = [result for number in range(count) for result in stage(VideoPart(record, number, count))]
    tracked = [result for result in results if isinstance(result, TrackedVideo)]
    assert [result.part for result in tracked] == list(range(count))
    return tracked


def test_parts_cover_every_frame_once_and_share_one_camera(sample_videos, track_models):
    record = record_of(sample_videos["single_face.mp4"])
    first, second = parts_tracked(record, track_models, 2, part_s=1.0)
    frames = [
        frame
        for segment in (*first.segments, *second.segments)
        for frame in range(segment.start_frame, segment.start_frame + segment.num_frames)
    ]
    assert frames == list(range(60))
    assert [clip.start_frame for clip in (*first.clips, *second.clips)] == [0, 25]
    assert second.clips[0].clip_id.endswith("-f000025")
    np.testing.assert_array_equal(first.clips[0].intrinsics, second.clips[0].intrinsics)


def test_a_part_behind_the_end_is_empty(sample_videos, track_models):
    record = record_of(sample_videos["single_face.mp4"])
    *_, last = parts_tracked(record, track_models, 4, part_s=1.0)
    assert (last.clips, last.segments) == ((), ())


def test_of_a_container_without_an_index_the_first_part_is_all(sample_videos, track_models, tmp_path):
    path = write_frames(tmp_path / "talk.ts", first_frames(sample_videos["single_face.mp4"], 30))
    first, second = parts_tracked(record_of(path), track_models, 2, part_s=0.6)
    assert sum(segment.num_frames for segment in first.segments) == 30
    assert (second.clips, second.segments) == ((), ())


def test_what_comes_before_a_broken_frame_is_kept(sample_videos, track_models, tmp_path):
    whole = write_frames(tmp_path / "whole.mp4", first_frames(sample_videos["single_face.mp4"], 60))
    broken = corrupted_copy(whole, tmp_path / "broken.mp4", 0.6, 0.7)
    result = tracked_video(record_of(broken), track_models)
    (clip,) = result.clips
    kept, lost = result.segments
    assert (kept.clip_id, kept.start_frame) == (clip.clip_id, 0)
    assert lost.reason is RejectReason.DECODE_ERROR
    assert kept.num_frames + lost.num_frames == 60
    assert kept.num_frames >= 10


def test_a_hand_over_the_face_costs_its_frames(sample_videos, track_models):
    """From 2.5 s on her hand is at her cheek."""
    record = record_of(sample_videos["WolfgangLanger_Pexels.mp4"], start_s=2.8, end_s=4.2)
    free = track(record, track_models, hands_every_s=0.2)
    assert max(clip.hand_over_face.max() for clip in free.clips) > 0.05
    strict = track(record, track_models, hands_every_s=0.2, max_hand_over_face=0.01)
    assert RejectReason.HAND_OVER_FACE in {segment.reason for segment in strict.segments}


def test_a_box_chooses_the_smaller_of_two_faces(sample_videos, track_models, tmp_path):
    import cv2

    images = first_frames(sample_videos["single_face.mp4"], 12)
    beside = [
        np.hstack((image, cv2.copyMakeBorder(cv2.resize(image, (416, 234)), 63, 63, 0, 0, cv2.BORDER_REPLICATE)))
        for image in images
    ]
    path = write_frames(tmp_path / "two.mp4", beside)
    (clip,) = track(record_of(path, box=(700.0, 60.0, 1000.0, 300.0)), track_models).clips
    assert clip.num_frames == 12
    assert clip.landmarks_px[..., 0].min() > 640
    assert clip.face_size.max() < 130


def test_a_face_of_150_px_in_a_full_hd_video_is_one_clip_of_all_frames(sample_videos, track_models, tmp_path):
    import cv2

    small = [cv2.resize(image, None, fx=0.89, fy=0.89) for image in first_frames(sample_videos["single_face.mp4"], 12)]
    height, width = small[0].shape[:2]
    frames = [np.full((1080, 1920, 3), 90, np.uint8) for _ in small]
    for frame, image in zip(frames, small, strict=True):
        frame[500 : 500 + height, 1100 : 1100 + width] = image
    (clip,) = track(record_of(write_frames(tmp_path / "far.mp4", frames)), track_models).clips
    assert clip.num_frames == 12
    assert clip.face_size == pytest.approx(150, rel=0.05)
    assert (clip.landmarks_px.min(axis=(0, 1)) > (1100, 500)).all()
    assert (clip.landmarks_px.max(axis=(0, 1)) < (1100 + width, 500 + height)).all()


def test_expression_from_landmarks_has_20_coefficients(brief, track_models):
    (clip,) = track(brief, track_models, expression="pca").clips
    assert clip.expression.shape == (12, 20)
    assert clip.expression_names[0] == "pca_00"


def test_blendshapes_of_landmarks_that_have_none_are_refused():
    values = {name: getattr(TRACK, name) for name in TRACK.__dataclass_fields__} | {"landmarks": "face_alignment"}
    with pytest.raises(
        ParamsError, match=r"expression: landmarks 'face_alignment' give no blendshapes; expected 'pca'"
    ):
        validate(values, TrackConfig, "params.yaml: track")


def test_what_was_tracked_before_changes_nothing(sample_videos, brief, track_models):
    """The order of videos, and so the number of workers, changes no bytes."""
    stage = TrackStage(replace(TRACK, hands_every_s=0.2), track_models)
    other = record_of(sample_videos["WolfgangLanger_Pexels.mp4"], start_s=3.0, end_s=3.6)
    first, _, again = (dump_track(next(stage(VideoPart(record)))) for record in (brief, other, brief))
    assert again == first
