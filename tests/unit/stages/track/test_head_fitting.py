"""The head of a run: frames that do not show it are told by their confidence."""

import numpy as np
import pytest

from mggtalk.stages.track.clip_segmentation import FrameRun
from mggtalk.stages.track.head_fitting import HeadFitter
from tests.support.heads import FRAME_SIZE, LANDMARKS, filmed_head

RUN = FrameRun(100, 125, None)


@pytest.fixture(scope="module")
def head():
    return filmed_head(0, 30, distance_cm=70, noise_px=0.5)


def solved(landmarks):
    fitter = HeadFitter(LANDMARKS, 70.0, FRAME_SIZE)
    return fitter.fit(RUN, landmarks, fitter.focal(landmarks))


def test_landmarks_that_are_elsewhere_have_no_confidence(head):
    landmarks = head.observed.copy()
    bad = [4, 11, 20]
    landmarks[bad] += np.random.default_rng(0).normal(scale=30, size=landmarks[bad].shape)
    confidence = solved(landmarks).confidence
    assert (confidence[bad] < 0.3).all()
    assert (np.delete(confidence, bad) > 0.95).all()


def test_a_clip_is_posed_as_its_run_was(head):
    run = solved(head.observed)
    clip = FrameRun(110, 118, None)
    assert clip in run
    assert FrameRun(95, 105, None) not in run
    assert run.frames_of(clip) == slice(10, 18)
    pose = run.pose(clip)
    np.testing.assert_array_equal(pose.head_to_camera[:, :3, 3], run.poses.translation[10:18])
    np.testing.assert_array_equal(pose.neutral_landmarks, run.shape.points)
    assert pose.intrinsics[0, 0] == run.focal


def test_yaw_is_that_of_the_head(head):
    assert solved(head.observed).yaw_deg == pytest.approx(np.linspace(-30, 30, 25), abs=2.5)


def test_a_long_run_is_solved_in_blocks_as_if_at_once(head, monkeypatch):
    landmarks = head.observed
    whole = solved(landmarks)
    monkeypatch.setattr("mggtalk.stages.track.head_fitting._BLOCK", 7)
    parts = solved(landmarks)
    np.testing.assert_allclose(parts.poses.translation, whole.poses.translation, atol=1e-9)
    np.testing.assert_array_equal(parts.confidence, whole.confidence)


def test_eyes_that_look_aside_cost_no_confidence(head):
    landmarks = head.observed.copy()
    landmarks[:, LANDMARKS.alignment_weights == 0, 0] += 40
    np.testing.assert_array_equal(solved(landmarks).confidence, solved(head.observed).confidence)
