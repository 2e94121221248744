import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from mggtalk.geometry.head.rigid_fit import Poses, _step, first_poses, refine_poses, reprojection_cm
from tests.support.heads import LANDMARKS, RIGID, angle_deg, turned

SHAPE = LANDMARKS.neutral[RIGID]
WEIGHTS = np.ones(len(SHAPE))
FOCAL = 900.0
TOLERANCE_CM = 0.2


def seen(poses):
    """Return the landmarks of a perfect landmarker: pixels from the principal point, and depth relative to the head."""
    camera = poses.apply(SHAPE)
    relative = (camera[..., 2:] - poses.translation[:, None, 2:]) * FOCAL / poses.translation[:, None, 2:]
    return np.concatenate((camera[..., :2] / camera[..., 2:] * FOCAL, relative), axis=-1)


def fitted(landmarks, iterations=6):
    rough = first_poses(SHAPE, landmarks, WEIGHTS, FOCAL)
    return refine_poses(rough, SHAPE, landmarks[..., :2] / FOCAL, WEIGHTS, TOLERANCE_CM, iterations)


@given(
    st.floats(-60, 60),
    st.floats(-30, 30),
    st.floats(-30, 30),
    st.floats(40, 200),
    st.floats(-0.4, 0.4),
    st.floats(-0.3, 0.3),
)
def test_poses_are_recovered_from_where_points_are_seen(yaw, pitch, roll, distance, right, down):
    truth = Poses(turned([yaw], [pitch], [roll]), np.array([[right * distance, down * distance, distance]]))
    found = fitted(seen(truth))
    assert angle_deg(found.rotation, truth.rotation).max() < 0.01
    assert found.translation == pytest.approx(truth.translation, abs=0.01 * distance / 40)
    assert reprojection_cm(found, SHAPE, seen(truth)[..., :2] / FOCAL).max() < 1e-3


def test_a_fifth_of_the_points_cannot_turn_the_head():
    truth = Poses(turned(np.linspace(-40, 40, 9)), np.tile([2.0, -1.0, 70.0], (9, 1)))
    landmarks = seen(truth)
    landmarks[:, ::5, :2] += 3.0 / 70 * FOCAL  # three centimetres
    assert angle_deg(fitted(landmarks, 12).rotation, truth.rotation).max() < 0.5


def test_a_step_leads_downhill_from_anywhere_near():
    """Gauss-Newton with wrong derivatives would not converge quadratically."""
    truth = Poses(turned([20.0], [5.0], [-8.0]), np.array([[3.0, 2.0, 60.0]]))
    rays = seen(truth)[..., :2] / FOCAL
    off = Rotation.from_rotvec([0.05, -0.04, 0.03]).as_matrix()
    start = Poses(off @ truth.rotation, truth.translation + np.array([0.5, -0.4, 2.0]))
    errors = [
        reprojection_cm(refine_poses(start, SHAPE, rays, WEIGHTS, 1e6, steps), SHAPE, rays).max() for steps in range(4)
    ]
    assert errors[1] < 0.1 * errors[0]
    assert errors[2] < 0.02 * errors[1]
    assert errors[3] < 1e-6


def test_taking_frames_keeps_their_poses():
    poses = Poses(turned([1.0, 2.0, 3.0]), np.arange(9.0).reshape(3, 3))
    assert poses.take(slice(1, 3)).translation.tolist() == [[3, 4, 5], [6, 7, 8]]
    np.testing.assert_array_equal(poses.take(slice(1, 3)).rotation, poses.rotation[1:])


def test_rough_poses_know_that_a_head_at_the_side_is_seen_from_the_side():
    """A landmarker that looks at a crop tells depth along the ray of the head."""
    truth = Poses(turned([15.0], [5.0], [3.0]), np.array([[80.0, -50.0, 200.0]]))
    landmarks, middle = seen(truth), truth.translation[0]
    along = (truth.apply(SHAPE) - middle) @ (middle / np.linalg.norm(middle))
    landmarks[..., 2] = along * FOCAL / middle[2]
    rough = first_poses(SHAPE, landmarks, WEIGHTS, FOCAL)
    assert angle_deg(rough.rotation, truth.rotation).max() < 3  # not the 25 degrees to the side
    assert rough.translation == pytest.approx(truth.translation, rel=0.05)


def test_the_derivatives_of_a_step_are_those_of_the_projection():
    """One step by the module against one by central differences, of points that are neither trusted nor off alike."""
    rng = np.random.default_rng(0)
    points = SHAPE[::40]
    pose = Poses(turned([25.0], [-10.0], [12.0]), np.array([[6.0, -4.0, 50.0]]))
    turned_points = pose.rotation @ points.T
    trust, errors = rng.uniform(0.2, 1, (1, len(points))), rng.normal(scale=0.01, size=(1, 2 * len(points)))

    def projected(change):
        moved = (
            Rotation.from_rotvec(change[:3]).as_matrix() @ turned_points[0]
            + (pose.translation[0] + change[3:])[:, None]
        )
        return (moved[:2] / moved[2]).ravel()

    jacobian = np.stack([(projected(h) - projected(-h)) / 2e-5 for h in 1e-5 * np.eye(6)], axis=1)
    weights = np.tile(trust[0], 2)[:, None]
    expected = -np.linalg.solve(jacobian.T @ (weights * jacobian), jacobian.T @ (weights[:, 0] * errors[0]))
    camera = turned_points + pose.translation[..., None]
    seen_at = (camera[:, 0] / camera[:, 2], camera[:, 1] / camera[:, 2])
    step = _step(turned_points, seen_at, 1 / camera[:, 2], errors, trust)
    np.testing.assert_allclose(step[0], expected, rtol=1e-4)
