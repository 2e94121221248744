import numpy as np
import pytest

from mggtalk.geometry.head.head_pose import from_principal_point, pose_clip, poses_of
from mggtalk.geometry.head.head_shape import estimate_focal, key_frames, solve_head_shape
from tests.support.heads import FRAME_SIZE, LANDMARKS, PRIOR, RIGID, angle_deg, filmed_head, jaw_share

TRUE_FOCAL = 800.0


def centered(head):
    return from_principal_point(head.observed, FRAME_SIZE)


def solved(head, landmarks, assumed_cm=90.0):
    focal = estimate_focal(landmarks, PRIOR, assumed_cm)
    shape = solve_head_shape(landmarks, PRIOR, focal)
    return pose_clip(landmarks, FRAME_SIZE, shape, poses_of(landmarks, shape, PRIOR, focal), focal)


@pytest.mark.parametrize("distance_cm", [40, 60, 90, 140])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_turning_head_tells_the_focal_length(seed, distance_cm):
    head = filmed_head(seed, 40, distance_cm=distance_cm, noise_px=0.5)
    assert estimate_focal(centered(head), PRIOR, 90.0) == pytest.approx(TRUE_FOCAL, rel=0.2)


def test_where_perspective_says_nothing_the_assumed_distance_does():
    head = filmed_head(0, 30, distance_cm=60, noise_px=0.5)
    still = np.repeat(centered(head)[12:13], 30, axis=0)  # one image, again and again
    still[..., :2] += np.random.default_rng(0).normal(scale=0.5, size=still[..., :2].shape)
    near, far = (estimate_focal(still, PRIOR, distance) for distance in (60.0, 120.0))
    assert far == pytest.approx(2 * near, rel=0.1)


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 20))])
@pytest.mark.parametrize(("distance_cm", "max_yaw_deg"), [(60, 15), (60, 45), (90, 0), (90, 30), (90, 45)])
@pytest.mark.parametrize("jaw_drop_cm", [0.0, 2.0])
def test_rotation_and_symmetry_plane_of_a_filmed_head(seed, distance_cm, max_yaw_deg, jaw_drop_cm):
    head = filmed_head(seed, max_yaw_deg, distance_cm=distance_cm, noise_px=0.5, jaw_drop_cm=jaw_drop_cm)
    pose = solved(head, centered(head))
    assert angle_deg(pose.head_to_camera[:, :3, :3], head.rotation).max() < 1.0
    rigid = RIGID & (jaw_share(head.shape) == 0)  # a jaw that drops moves against the head
    middle = np.flatnonzero((LANDMARKS.mirror == np.arange(478)) & rigid)
    on_plane = np.abs(pose.landmarks[:, middle, 0])
    assert np.percentile(on_plane, 95) < 0.15  # cm: what lies on the plane is found there


def test_bad_frames_do_not_bend_the_head():
    head = filmed_head(0, 30, distance_cm=70, noise_px=0.5)
    landmarks = centered(head)
    bad = np.arange(3, 25, 7)  # four of 25
    landmarks[bad] += np.random.default_rng(0).normal(scale=25, size=landmarks[bad].shape)
    pose = solved(head, landmarks, assumed_cm=70.0)
    good = np.setdiff1d(np.arange(25), bad)
    assert angle_deg(pose.head_to_camera[good, :3, :3], head.rotation[good]).max() < 1.0
    assert np.abs(pose.neutral_landmarks - head.shape)[RIGID].max() < 0.2
    assert np.median(pose.reprojection_cm[bad]) > 10 * np.median(pose.reprojection_cm[good])


def test_the_shape_is_symmetric_to_the_last_digit_and_has_its_scale():
    head = filmed_head(2, 25)
    shape = solve_head_shape(centered(head), PRIOR, TRUE_FOCAL)
    np.testing.assert_allclose(shape.points[LANDMARKS.mirror] * (-1, 1, 1), shape.points, atol=1e-9)
    corners = shape.points[list(LANDMARKS.eye_corners)]
    assert np.linalg.norm(corners[0] - corners[1]) == pytest.approx(8.9)
    assert shape.trust.max() == 1
    assert (shape.trust[~RIGID] == 0).all()


def test_landmarks_that_move_are_trusted_less():
    head = filmed_head(1, 30, jaw_drop_cm=2.0)
    trust = solve_head_shape(centered(head), PRIOR, TRUE_FOCAL).trust
    assert trust[LANDMARKS.points["chin"]] < 0.2 * np.median(trust[RIGID])


def test_key_frames_are_few_and_spread_over_all():
    assert key_frames(5, 32).tolist() == [0, 1, 2, 3, 4]
    chosen = key_frames(1000, 32)
    assert (len(chosen), chosen[0], chosen[-1]) == (32, 0, 999)
    assert np.ptp(np.diff(chosen)) <= 1
    assert key_frames(1, 32).tolist() == [0]


@pytest.mark.parametrize("step", [1, 3, 7, 100])
def test_a_thinned_prior_is_closed_under_the_mirror(step):
    few, kept = PRIOR.thinned(step)
    np.testing.assert_array_equal(kept[few.mirror], PRIOR.mirror[kept])
    assert kept[list(few.eye_corners)].tolist() == list(PRIOR.eye_corners)
    np.testing.assert_array_equal(few.template, PRIOR.template[kept])


@pytest.mark.parametrize("seed", [0, 1])
def test_frames_in_which_all_landmarks_lie_on_one_point_do_not_count(seed):
    head = filmed_head(seed, 30, distance_cm=70, noise_px=0.5, num_frames=40)
    landmarks = centered(head)
    bad = np.arange(3, 40, 7)  # 15 %
    landmarks[bad] = landmarks[bad].mean(axis=1, keepdims=True)
    focal = estimate_focal(landmarks, PRIOR, 70.0)
    assert focal == pytest.approx(TRUE_FOCAL, rel=0.2)
    assert np.abs(solve_head_shape(landmarks, PRIOR, focal).points - head.shape)[RIGID].max() < 0.15


def test_the_turning_of_a_head_outweighs_a_flat_landmarker():
    """It gives 0.7 of the true depth."""
    head = filmed_head(0, 45, distance_cm=70, noise_px=0.5)
    landmarks = centered(head)
    flat = landmarks * (1, 1, 0.7)
    errors = [
        np.abs(solve_head_shape(seen, PRIOR, TRUE_FOCAL).points - head.shape)[RIGID, 2] for seen in (landmarks, flat)
    ]
    assert errors[0].max() < 0.2
    assert errors[1].max() < 1.2


def test_twins_are_trusted_alike():
    trust = solve_head_shape(centered(filmed_head(1, 30, jaw_drop_cm=2.0)), PRIOR, TRUE_FOCAL).trust
    np.testing.assert_array_equal(trust[LANDMARKS.mirror], trust)
