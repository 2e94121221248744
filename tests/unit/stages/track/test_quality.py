"""The figures of clips of which they are known."""

from dataclasses import replace

import numpy as np
import pytest

from mggtalk.stages.track.quality import clip_quality
from tests.support.footage import bare_clip, record_of
from tests.support.heads import turned

FOCAL = 1000.0


@pytest.fixture
def clip(tmp_path):
    """A head one metre away, seen exactly where it is."""
    path = tmp_path / "a.mp4"
    path.write_bytes(b"x")
    made = bare_clip(record_of(path), 0, 12, intrinsics=np.array([[FOCAL, 0, 320], [0, FOCAL, 180], [0, 0, 1.0]]))
    camera = made.landmarks @ made.head_to_camera[0, :3, :3].T + made.head_to_camera[0, :3, 3]
    pixels = camera @ made.intrinsics.T
    return replace(made, landmarks_px=(pixels[..., :2] / pixels[..., 2:]).astype(np.float32))


def test_a_perfect_clip_has_no_errors(clip):
    quality = clip_quality(clip)
    assert quality.reprojection_percent == pytest.approx(0, abs=1e-3)
    assert quality.mirror_residual_mm == pytest.approx(0, abs=1e-3)
    assert (quality.jitter_mm, quality.max_yaw_deg) == (0, 0)


def test_reprojection_is_in_percent_of_the_distance_between_the_eyes(clip):
    moved = replace(clip, landmarks_px=clip.landmarks_px + np.array([3, 4], np.float32))
    corners = np.array([33, 263])
    depth = 100 - clip.neutral_landmarks[corners, 2].mean()
    assert clip_quality(moved).reprojection_percent == pytest.approx(100 * 5 / (FOCAL * 8.9 / depth), rel=1e-3)


def test_the_mirror_residual_is_half_the_distance_between_twins(clip):
    moved = clip.landmarks + np.array([0.1, 0, 0], np.float32)  # a millimetre to the left of the plane
    assert clip_quality(replace(clip, landmarks=moved)).mirror_residual_mm == pytest.approx(1.0, rel=1e-3)


def test_jitter_is_the_noise_of_a_frame(clip):
    noise = np.random.default_rng(0).normal(scale=0.02, size=clip.landmarks.shape).astype(np.float32)
    median_length = 0.2 * 1.538  # mm; the median of a Maxwell distribution
    assert clip_quality(replace(clip, landmarks=clip.landmarks + noise)).jitter_mm == pytest.approx(
        median_length, rel=0.05
    )


def test_motion_is_no_jitter(clip):
    drift = np.linspace(0, 3, 12, dtype=np.float32)[:, None, None]
    assert clip_quality(replace(clip, landmarks=clip.landmarks + drift)).jitter_mm == pytest.approx(0, abs=1e-3)


def test_the_largest_turn_to_either_side(clip):
    poses = clip.head_to_camera.copy()
    poses[:, :3, :3] = turned(np.linspace(-35, 20, 12))
    assert clip_quality(replace(clip, head_to_camera=poses)).max_yaw_deg == pytest.approx(35, abs=0.1)


def test_two_frames_have_no_jitter(clip):
    frames = slice(0, 2)
    brief = replace(
        clip,
        landmarks=clip.landmarks[frames] + np.array([[[0.0]], [[1.0]]], np.float32),
        landmarks_px=clip.landmarks_px[frames],
        head_to_camera=clip.head_to_camera[frames],
    )
    assert clip_quality(brief).jitter_mm == 0


def test_reprojection_is_that_of_the_rigid_shape_and_not_of_the_track(clip):
    raised = replace(clip, landmarks=clip.landmarks + np.array([0, 0.5, 0], np.float32))
    assert clip_quality(raised).reprojection_percent == pytest.approx(0, abs=1e-3)
