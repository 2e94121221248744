"""Which faces of a clip are taken, and what becomes of them; the encoder reads the number that a frame shows."""

import math
from dataclasses import replace

import numpy as np
import pytest

from mggtalk.errors import VideoError
from mggtalk.records import TrackedVideo
from mggtalk.stages.track.identity.embedding import FACES_PER_CLIP, IdentityStage, choose_faces, choose_video_faces
from tests.support.footage import bare_clip, record_of
from tests.support.media import frame_number, write_video


class NumberEncoder:
    """The number painted into the frame, and the first landmark."""

    def encode(self, image, landmarks_px):
        return np.array([frame_number(image), *landmarks_px[0]], np.float32)


@pytest.fixture
def record(tmp_path):
    return record_of(write_video(tmp_path / "a.mp4", 120))


def numbered_landmarks(start, count):
    return np.stack([np.arange(start, start + count), np.zeros(count)], -1)[:, None].astype(np.float32)


def turned(clip, frames, degrees=40.0):
    """The clip with the head turned away in `frames`."""
    poses = clip.head_to_camera.copy()
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    poses[frames, :3, :3] = poses[frames, :3, :3] @ np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    return replace(clip, head_to_camera=poses)


def test_a_face_is_taken_from_every_part_of_the_clip(record):
    faces = choose_faces(bare_clip(record, 16, 80, landmarks_px=numbered_landmarks(16, 80)))
    assert len(faces.frame_index) == FACES_PER_CLIP
    assert ((faces.frame_index - 16) // 10).tolist() == list(range(8))
    np.testing.assert_array_equal(faces.landmarks_px[:, 0, 0], faces.frame_index)


def test_sharp_and_frontal_faces_are_taken(record):
    sharpness = np.tile(np.array([1, 9, 9, 1], np.float32), 8)
    clip = turned(bare_clip(record, 0, 32, sharpness=sharpness), np.arange(1, 32, 4))
    assert choose_faces(clip).frame_index.tolist() == list(range(2, 32, 4))


def test_a_face_that_looks_past_the_middle_of_the_picture_at_the_camera_is_frontal(record):
    clip = bare_clip(record, 0, 2)
    poses = clip.head_to_camera.copy()
    poses[:, 0, 3] = 100  # 45 degrees beside the axis
    aside = turned(replace(clip, head_to_camera=poses), [1], degrees=-45.0)
    assert choose_faces(aside, 1).frame_index.tolist() == [1]


def test_a_repeated_frame_is_taken_once_and_a_short_clip_gives_what_it_has(record):
    clip = bare_clip(record, 0, 6, frame_index=np.array([0, 0, 1, 1, 2, 2], np.int32))
    assert choose_faces(clip).frame_index.tolist() == [0, 1, 2]


def test_every_clip_has_the_mean_of_its_own_frames(record):
    clips = [bare_clip(record, start, 40, landmarks_px=numbered_landmarks(start, 40)) for start in (60, 10)]
    faces = choose_video_faces(TrackedVideo(record, tuple(clips), ()))
    found = list(IdentityStage(NumberEncoder)(faces))
    assert [one.clip_id for one in found] == [clip.clip_id for clip in clips]
    for one, chosen in zip(found, faces.clips, strict=True):
        mean = chosen.frame_index.mean()
        assert one.embedding == pytest.approx((mean, mean, 0.0))
        assert one.num_faces == FACES_PER_CLIP


def test_a_clip_in_which_one_person_takes_anothers_place_changes(record):
    landmarks = numbered_landmarks(0, 80)
    landmarks[:, 0, 0] = np.where(np.arange(80) < 50, 0, 1000)
    swapped = bare_clip(record, 0, 80, landmarks_px=landmarks)
    steady = bare_clip(record, 0, 80)
    changes = [
        next(IdentityStage(NumberEncoder)(choose_video_faces(TrackedVideo(record, (clip,), ())))).change
        for clip in (swapped, steady)
    ]
    assert changes[0] == pytest.approx(1000, rel=0.02)
    assert changes[1] < 100  # the numbers of the frames themselves


def test_three_faces_cannot_tell_a_change(record):
    faces = choose_video_faces(TrackedVideo(record, (bare_clip(record, 0, 3),), ()))
    (found,) = IdentityStage(NumberEncoder)(faces)
    assert (found.num_faces, found.change) == (3, 0.0)


def test_a_video_that_is_gone_raises(record):
    gone = replace(record, path="/nowhere/talk.mp4")
    with pytest.raises(VideoError, match=r"talk\.mp4"):
        list(IdentityStage(NumberEncoder)(choose_video_faces(TrackedVideo(gone, (bare_clip(gone, 0, 9),), ()))))
