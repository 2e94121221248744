"""The stage `shards` on a real tracked clip: every sample against the tracks that it was made from."""

import io
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mggtalk.config import validate
from mggtalk.errors import ParamsError, VideoError
from mggtalk.geometry.cameras import pixel_centers
from mggtalk.geometry.head.landmark_sets import landmark_set
from mggtalk.perception.depth.mesh_depth import rasterize_depth
from mggtalk.records import ClipTrack, Rejected, RejectReason, ShardSample
from mggtalk.shards import schema
from mggtalk.shards.codecs import images
from mggtalk.shards.codecs.clouds import decode_cloud
from mggtalk.shards.codecs.tracks import decode_tracks
from mggtalk.stages.shards.config import ShardsConfig
from mggtalk.stages.shards.crop import head_crop
from mggtalk.stages.shards.stage import ShardsStage
from mggtalk.video.decode import open_video
from tests.support.footage import AUDIO_BEGINS_S, SHARDS, first_frames, tracked_video, write_frames
from tests.support.media import AUDIO_RATE_HZ, with_broken_audio

LANDMARKS = landmark_set("mediapipe_478")
HASHES = {"face_landmarker": "a" * 64, "selfie_segmentation": "b" * 64}


@pytest.fixture(scope="module")
def clip(tracked_talk) -> ClipTrack:
    assert [made.num_frames for made in tracked_talk.clips] == [72]
    made: ClipTrack = tracked_talk.clips[0]
    return made


@pytest.fixture(scope="module")
def stage(segmenter_path):
    return ShardsStage(SHARDS, "mediapipe_478", {"selfie_segmentation": segmenter_path}, HASHES)


@pytest.fixture(scope="module")
def samples(stage, clip) -> list[ShardSample]:
    return list(stage(clip))


@pytest.fixture(scope="module")
def short_clip(talking_video, track_models) -> ClipTrack:
    """An interval of 0.48 s that begins before the sound and ends in it."""
    record = replace(talking_video, start_s=0.8, end_s=1.28)
    return tracked_video(record, track_models).clips[0]


def frames(samples):
    """Sample, its tracks and the number of each frame within it."""
    for sample in samples:
        tracks = decode_tracks(sample.members[schema.TRACKS_MEMBER])
        for frame in range(sample.num_frames):
            yield sample, tracks, frame


def sources(samples):
    """Sample, tracks, number, and depth of each frame with geometry."""
    for sample, tracks, frame in frames(samples):
        if frame in sample.source_frames:
            scale = sample.meta["depth_scale"][sample.source_frames.index(frame)]
            yield sample, tracks, frame, images.decode_depth(sample.members[schema.depth_member(frame)], scale)


def in_camera(tracks, frame):
    pose = tracks.head_to_camera[frame].astype(float)
    return tracks.landmarks[frame] @ pose[:3, :3].T + pose[:3, 3]


def test_a_clip_becomes_chunks_of_64_frames(samples, clip):
    assert [sample.key for sample in samples] == [f"{clip.clip_id}-0000", f"{clip.clip_id}-0001"]
    assert [sample.num_frames for sample in samples] == [64, 8]
    for sample in samples:
        assert (sample.clip_id, sample.video_id, sample.split) == (clip.clip_id, clip.video.video_id, clip.video.split)
        assert tuple(sample.members) == schema.member_names(
            sample.num_frames, sample.source_frames, has_audio=clip.video.has_audio
        )
        schema.parse_meta(json.dumps(sample.meta).encode(), sample.key)


def test_every_eighth_frame_of_the_clip_has_geometry(samples):
    numbers = [64 * index + frame for index, sample in enumerate(samples) for frame in sample.source_frames]
    assert numbers == list(range(0, 72, 8))


def test_pictures_masks_and_maps_have_the_crops_size(samples):
    for sample, _, frame in frames(samples):
        assert images.decode_rgb(sample.members[schema.rgb_member(frame)]).shape == (192, 192, 3)
        assert images.decode_mask(sample.members[schema.head_member(frame)]).shape == (192, 192)
    for sample, _, frame, depth in sources(samples):
        assert depth.shape == (192, 192)
        assert images.decode_normals(sample.members[schema.normal_member(frame)]).shape == (192, 192, 3)


def test_tracks_are_those_of_the_clip_in_order(samples, clip):
    tracks = [decode_tracks(sample.members[schema.TRACKS_MEMBER]) for sample in samples]
    for name in ("landmarks", "head_to_camera", "expression", "times_s", "frame_index", "face_size", "sharpness"):
        stored = np.concatenate([getattr(chunk, name) for chunk in tracks])
        np.testing.assert_array_equal(stored, getattr(clip, name), err_msg=name)


def test_landmarks_project_onto_their_pixels_of_the_crop(samples):
    for sample, tracks, frame in frames(samples):
        pixels = in_camera(tracks, frame) @ np.array(sample.meta["intrinsics"]).T
        distance = np.abs(pixels[:, :2] / pixels[:, 2:] - tracks.landmarks_px[frame])
        assert distance.max() < 0.1


def test_the_picture_is_the_crop_of_the_video_at_the_landmarks(samples, clip):
    """The stored picture, brought back by `video_to_crop`, is the video frame that the tracks name."""
    video = open_video(clip.video.path)
    sample, number = samples[1], 3
    (frame,) = video.frames(64 + number, 65 + number)
    picture = images.decode_rgb(sample.members[schema.rgb_member(number)])
    similarity = np.array(sample.meta["video_to_crop"])
    # OpenCV counts pixel centres from 0.
    similarity[:, 2] += similarity[:, :2] @ (0.5, 0.5) - 0.5
    expected = cv2.warpAffine(frame, similarity, (192, 192), flags=cv2.INTER_AREA)
    valid = images_valid(sample)
    difference = np.abs(picture.astype(int) - expected)[valid]
    assert difference.mean() < 6
    shifted = np.abs(np.roll(picture, 4, axis=1).astype(int) - expected)[valid]
    assert difference.mean() < 0.6 * shifted.mean()


def images_valid(sample):
    left, top, right, bottom = sample.meta["valid_box"]
    centers = pixel_centers(192, 192).numpy()
    return ((centers > (left + 2, top + 2)) & (centers < (right - 2, bottom - 2))).all(axis=-1)


def test_masks_have_the_face_and_not_the_shoulders(samples):
    for sample, tracks, frame in frames(samples):
        mask = images.decode_mask(sample.members[schema.head_member(frame)])
        pixels = tracks.landmarks_px[frame].astype(float)
        face = rasterize_depth(pixels, np.ones(478), LANDMARKS.triangles, 192, 192) > 0
        assert mask[cv2.erode(face.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0].all()
        assert not mask[-12:, :40].any()
        assert not mask[-12:, -40:].any()
        assert 0.2 < mask.mean() < 0.7


def test_depth_agrees_with_the_landmarks(samples):
    """Nose, cheeks and forehead: where the face is no wall."""
    checked = [LANDMARKS.points["nose_tip"], 50, 280, 205, 425, 151, 9, 4]
    for _, tracks, frame, depth in sources(samples):
        columns, rows = np.floor(tracks.landmarks_px[frame, checked]).astype(int).T
        assert np.abs(depth[rows, columns] - in_camera(tracks, frame)[checked, 2]).max() < 0.3


def test_a_clip_of_68_landmarks_gives_the_same_head(stage, segmenter_path, short_clip):
    """The same face seen at fewer points: masks and depth hardly change, and the samples carry those points."""
    coarse = ShardsStage(SHARDS, "ibug_68", {"selfie_segmentation": segmenter_path}, HASHES)
    kept = LANDMARKS.ibug_68
    sparse = replace(
        short_clip,
        landmark_set="ibug_68",
        landmarks_px=short_clip.landmarks_px[:, kept],
        landmarks=short_clip.landmarks[:, kept],
        neutral_landmarks=short_clip.neutral_landmarks[kept],
    )
    expected, got = list(stage(short_clip)), list(coarse(sparse))
    for (before, _, frame, depth), (after, tracks, _, coarse_depth) in zip(
        sources(expected), sources(got), strict=True
    ):
        assert after.meta["landmark_set"] == "ibug_68"
        assert tracks.landmarks.shape[1] == len(kept)
        masks = [images.decode_mask(sample.members[schema.head_member(frame)]) for sample in (before, after)]
        assert (masks[0] & masks[1]).sum() > 0.97 * (masks[0] | masks[1]).sum()
        both = masks[0] & masks[1]
        assert np.median(np.abs(depth - coarse_depth)[both]) < 0.2
        assert np.percentile(np.abs(depth - coarse_depth)[both], 95) < 1.0


def test_depth_is_known_exactly_on_the_head_and_plausible(samples):
    for sample, tracks, frame, depth in sources(samples):
        mask = images.decode_mask(sample.members[schema.head_member(frame)])
        np.testing.assert_array_equal(depth > 0, mask)
        distance = tracks.head_to_camera[frame, 2, 3]
        assert (depth[mask] > distance - 12).all()
        assert (depth[mask] < distance + 12).all()


def test_normals_face_the_camera_and_are_known_on_nearly_all_of_the_head(samples):
    for sample, _, frame, depth in sources(samples):
        normals = images.decode_normals(sample.members[schema.normal_member(frame)])
        known = np.abs(normals).sum(-1) > 0
        assert (depth[known] > 0).all()
        assert known.sum() > 0.97 * (depth > 0).sum()
        rays = pixel_centers(192, 192).numpy() - np.array(sample.meta["intrinsics"])[:2, 2]
        rays = np.dstack((rays / np.diag(sample.meta["intrinsics"])[:2], np.ones((192, 192))))
        assert ((normals * rays).sum(-1)[known] < 0.05).mean() > 0.99


def test_the_cloud_lies_on_the_depth_map_and_its_mirror(samples):
    for sample, tracks, frame, depth in sources(samples):
        cloud = decode_cloud(sample.members[schema.cloud_member(frame)])
        visible = cloud.mirrored_of < 0
        assert visible.sum() > 1500
        columns, rows = cloud.source_pixel[visible].T
        pose = tracks.head_to_camera[frame].astype(float)
        camera = cloud.positions[visible] @ pose[:3, :3].T + pose[:3, 3]
        assert np.abs(camera[:, 2] - depth[rows, columns]).max() < 0.05
        mirrored = cloud.positions[~visible]
        np.testing.assert_array_equal(
            mirrored, cloud.positions[cloud.mirrored_of[~visible]] * np.array([-1, 1, 1], np.float32)
        )
        assert 0 < len(mirrored) < visible.sum()


def test_sound_is_as_long_as_the_frames_and_in_step_with_them(samples, short_clip, stage):
    for sample in samples:
        assert len(sound(sample)) == round(sample.num_frames / 25 * AUDIO_RATE_HZ)
    first, second = map(sound, samples)
    assert onset_s(first) == pytest.approx(AUDIO_BEGINS_S, abs=0.02)
    assert np.abs(second[:1000]).max() > 5000
    (sample,) = stage(short_clip)
    assert isinstance(sample, ShardSample)
    assert len(sound(sample)) == round(short_clip.num_frames / 25 * AUDIO_RATE_HZ)
    assert onset_s(sound(sample)) == pytest.approx(AUDIO_BEGINS_S - short_clip.times_s[0], abs=0.02)


def sound(sample):
    import av

    with av.open(io.BytesIO(sample.members[schema.AUDIO_MEMBER]), "r") as container:
        assert container.streams.audio[0].rate == AUDIO_RATE_HZ
        return np.concatenate([frame.to_ndarray().ravel() for frame in container.decode(audio=0)]).astype(int)


def onset_s(samples):
    return np.flatnonzero(np.abs(samples) > 3000)[0] / AUDIO_RATE_HZ


def test_a_clip_that_begins_later_in_its_video_has_its_own_pictures_and_sound(stage, clip):
    first, count = 20, 12  # from 0.8 s on
    frame_arrays = ("times_s", "frame_index", "landmarks_px", "landmarks", "head_to_camera", "expression")
    part = {name: getattr(clip, name)[first : first + count] for name in (*frame_arrays, "face_size", "sharpness")}
    later = replace(clip, clip_id=f"{clip.video.video_id}-f{first:06d}", start_frame=first, **part)
    (sample,) = stage(later)
    assert isinstance(sample, ShardSample)
    assert onset_s(sound(sample)) == pytest.approx(AUDIO_BEGINS_S - first / 25, abs=0.02)
    assert sample.source_frames == (0, 8)
    (frame,) = open_video(clip.video.path).frames(first + 5, first + 6)
    crop = head_crop(later.head_to_camera, later.intrinsics, SHARDS.crop_margin, SHARDS.size)
    picture = images.decode_rgb(sample.members[schema.rgb_member(5)]).astype(int)
    assert np.abs(picture - crop.image(frame)).mean() < 2


def test_a_video_without_a_sound_stream_has_no_sound(stage, short_clip, tmp_path):
    mute = write_frames(tmp_path / "mute.mp4", first_frames(Path(short_clip.video.path), 40))
    (sample,) = stage(replace(short_clip, video=replace(short_clip.video, path=str(mute))))
    assert isinstance(sample, ShardSample)
    assert (sample.meta["audio"], sample.meta["audio_dbfs"]) == ("none", None)
    assert schema.AUDIO_MEMBER not in sample.members


def test_sound_that_nothing_decodes_does_not_cost_the_pictures(stage, short_clip, tmp_path):
    broken = with_broken_audio(Path(short_clip.video.path), tmp_path / "broken.mp4")
    (whole,) = stage(short_clip)
    (sample,) = stage(replace(short_clip, video=replace(short_clip.video, path=str(broken))))
    assert isinstance(whole, ShardSample)
    assert isinstance(sample, ShardSample)
    assert (sample.meta["audio"], sample.meta["audio_dbfs"]) == ("broken", None)
    assert sample.members == {name: data for name, data in whole.members.items() if name != schema.AUDIO_MEMBER}


def test_the_level_of_the_sound_is_recorded(samples):
    for sample in samples:
        assert sample.meta["audio"] == "present"
        expected = 10 * np.log10(np.mean((sound(sample) / 32768) ** 2))
        assert sample.meta["audio_dbfs"] == pytest.approx(expected, abs=0.01)


def test_any_number_of_threads_gives_the_same_bytes(segmenter_path, short_clip):
    """Large enough that torch shares its sums between threads."""
    settings, made, before = replace(SHARDS, size=400), [], torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            stage = ShardsStage(settings, "mediapipe_478", {"selfie_segmentation": segmenter_path}, HASHES)
            made.append(list(stage(short_clip)))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert made[0] == made[1]


def test_nothing_outside_the_video_frame_is_head(segmenter_path, short_clip):
    """The head is moved up, so that its crop leaves the frame."""
    moved = short_clip.head_to_camera.copy()
    moved[:, 1, 3] -= 14
    shifted = replace(short_clip, head_to_camera=moved)
    (sample,) = ShardsStage(SHARDS, "mediapipe_478", {"selfie_segmentation": segmenter_path}, HASHES)(shifted)
    assert isinstance(sample, ShardSample)
    top = int(np.ceil(sample.meta["valid_box"][1]))
    assert top > 10
    for frame in range(sample.num_frames):
        assert not images.decode_mask(sample.members[schema.head_member(frame)])[:top].any()


def test_two_runs_give_the_same_bytes(segmenter_path, short_clip):
    first, second = (
        list(ShardsStage(SHARDS, "mediapipe_478", {"selfie_segmentation": segmenter_path}, HASHES)(short_clip))
        for _ in range(2)
    )
    assert [sample.key for sample in first if isinstance(sample, ShardSample)] == [f"{short_clip.clip_id}-0000"]
    assert first == second  # records compare by value: keys, metadata and the bytes of every member


def test_meta_says_where_the_crop_lies_and_what_made_it(samples, clip):
    crop = head_crop(clip.head_to_camera, clip.intrinsics, SHARDS.crop_margin, SHARDS.size)
    for sample in samples:
        np.testing.assert_allclose(sample.meta["video_to_crop"], crop.video_to_crop)
        np.testing.assert_allclose(sample.meta["intrinsics"], crop.intrinsics(clip.intrinsics))
        assert sample.meta["valid_box"] == crop.valid_box(640, 360)
        assert sample.meta["perception"]["models"] == HASHES
        assert sample.meta["landmark_set"] == "mediapipe_478"


def test_a_clip_whose_head_mask_is_too_small_is_rejected(segmenter_path, short_clip):
    stage = ShardsStage(
        replace(SHARDS, min_head_fraction=0.95), "mediapipe_478", {"selfie_segmentation": segmenter_path}, HASHES
    )
    (rejected,) = stage(short_clip)
    assert isinstance(rejected, Rejected)
    assert (rejected.key, rejected.reason) == (short_clip.clip_id, RejectReason.NO_HEAD)
    assert "% of the crop" in rejected.detail


def test_a_video_that_is_gone_raises(stage, short_clip):
    gone = replace(short_clip, video=replace(short_clip.video, path="/nowhere/talk.mp4"))
    with pytest.raises(VideoError, match=r"talk\.mp4"):
        list(stage(gone))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("size", 0),
        ("crop_margin", 0.5),
        ("geometry_stride", 0),
        ("surface_reach_cm", 0.0),
        ("cloud_stride", 0),
        ("voxel_size_cm", 0.0),
        ("min_head_fraction", 1.5),
        ("jpeg_quality", 101),
        ("target_shard_mb", -1.0),
    ],
)
def test_settings_out_of_range_are_named(key, value):
    values = {name: getattr(SHARDS, name) for name in SHARDS.__dataclass_fields__} | {key: value}
    with pytest.raises(ParamsError, match=rf"params\.yaml: shards\.{key}: .* got {value}"):
        validate(values, ShardsConfig, "params.yaml: shards")
