import numpy as np
import pytest

from mggtalk.geometry.head.head_pose import rotation_angles
from mggtalk.stages.track.clip_segmentation import FrameRun
from mggtalk.stages.track.head_fitting import HeadSolver
from tests.support.heads import FRAME_SIZE, LANDMARKS, RIGID, angle_deg, filmed_head, jaw_share, turned


def solve(head):
    run = FrameRun(0, len(head.observed), None)
    solver = HeadSolver(LANDMARKS, 60.0, FRAME_SIZE)
    return solver.solve(run, head.observed, solver.focal(head.observed)).pose(run)


def plane_offset(landmarks):
    """Half of how far a landmark and its mirrored landmark disagree about x = 0, in cm."""
    return np.abs(landmarks[..., 0] + landmarks[:, LANDMARKS.mirror, 0])[:, RIGID] / 2


@pytest.mark.parametrize("max_yaw_deg", [0, 15, 35, 55])
@pytest.mark.parametrize("seed", [0, 1])
def test_pose_shape_and_symmetry_plane_of_a_filmed_head(seed, max_yaw_deg):
    head = filmed_head(seed, max_yaw_deg)
    pose = solve(head)
    assert angle_deg(pose.head_to_camera[:, :3, :3], head.rotation).max() < 0.5
    assert np.abs(pose.neutral_landmarks - head.shape)[RIGID].max() < 0.15
    assert np.median(plane_offset(pose.landmarks)) < 0.05
    assert np.percentile(plane_offset(pose.landmarks), 99) < 0.15


@pytest.mark.parametrize("distance_cm", [40, 90])
def test_a_wrong_guess_of_the_distance_costs_little(distance_cm):
    """The camera is really at another distance than the one assumed."""
    head = filmed_head(0, 35, distance_cm=distance_cm)
    pose = solve(head)
    assert angle_deg(pose.head_to_camera[:, :3, :3], head.rotation).max() < 1
    assert np.median(plane_offset(pose.landmarks)) < 0.1


@pytest.mark.parametrize("max_yaw_deg", [0, 35, 55])
def test_a_dropping_jaw_does_not_tilt_the_head(max_yaw_deg):
    head = filmed_head(1, max_yaw_deg, jaw_drop_cm=2.5)
    pose = solve(head)
    assert angle_deg(pose.head_to_camera[:, :3, :3], head.rotation).max() < 0.7
    chin = LANDMARKS.points["chin"]
    drop = head.shape[chin, 1] - pose.landmarks[:, chin, 1]
    assert drop[::3] == pytest.approx(2.5 * jaw_share(head.shape)[chin], abs=0.2)
    assert np.delete(drop, np.s_[::3]) == pytest.approx(0, abs=0.2)


def test_landmarks_project_exactly_onto_their_pixels():
    head = filmed_head(2, 40, jaw_drop_cm=2, noise_px=1.0)
    pose = solve(head)
    camera = np.einsum("tij,tnj->tni", pose.head_to_camera[:, :3, :3], pose.landmarks)
    camera += pose.head_to_camera[:, None, :3, 3]
    pixels = camera @ pose.intrinsics.T
    np.testing.assert_allclose(pixels[..., :2] / pixels[..., 2:], head.observed[..., :2], atol=1e-6)


def test_one_camera_has_its_principal_point_in_the_middle():
    pose = solve(filmed_head(3, 30))
    assert pose.intrinsics[:2, 2].tolist() == [640, 360]
    assert pose.intrinsics[0, 0] == pose.intrinsics[1, 1]
    # Only the size in pixels is seen: focal length over distance.
    assert pose.intrinsics[0, 0] / np.median(pose.head_to_camera[:, 2, 3]) == pytest.approx(800 / 60, rel=0.03)


def test_every_frame_has_the_size_of_the_neutral_shape():
    """A head that approaches gets nearer in space, not larger in head space."""
    head = filmed_head(0, 30)
    pose = solve(head)
    corners = pose.landmarks[:, list(LANDMARKS.eye_corners)]
    assert np.linalg.norm(corners[:, 0] - corners[:, 1], axis=-1) == pytest.approx(8.9, abs=0.15)
    assert np.percentile(np.linalg.norm(pose.landmarks - head.shape, axis=-1)[:, RIGID], 98) < 0.25


def test_a_single_frame_can_be_solved():
    head = filmed_head(0, 20, num_frames=1)
    pose = solve(head)
    assert pose.head_to_camera.shape == (1, 4, 4)
    assert angle_deg(pose.head_to_camera[:, :3, :3], head.rotation).max() < 2


def test_a_head_that_faces_the_camera_upright_has_no_angles():
    assert rotation_angles(np.diag([1.0, -1.0, -1.0])).tolist() == [0, 0, 0]


def test_angles_have_the_documented_signs():
    """Camera axes: x right, y down, z forward; the person's left is on the right of the image."""
    turned_left = turned(yaw_deg=30)
    assert turned_left[0, 2] > 0.4  # the nose points to the right of the image
    assert rotation_angles(turned_left) == pytest.approx([30, 0, 0], abs=1e-9)
    looking_up = turned(pitch_deg=20)
    assert looking_up[1, 2] < -0.3  # the nose points up
    assert rotation_angles(looking_up) == pytest.approx([0, 20, 0], abs=1e-9)
    leaning_left = turned(roll_deg=15)
    assert leaning_left[0, 1] > 0.2  # the crown points to the right of the image
    assert rotation_angles(leaning_left) == pytest.approx([0, 0, 15], abs=1e-9)
    assert rotation_angles(turned([10, -50], [5, 8], 0)) == pytest.approx(np.array([[10, 5, 0], [-50, 8, 0]]), abs=9)
