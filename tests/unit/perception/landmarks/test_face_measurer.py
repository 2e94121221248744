import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mggtalk.errors import WeightsError
from mggtalk.perception.landmarks.face_measurer import MEASURED_SIZE, MediaPipeFaceMeasurer, enlarged, rotation_angles


@pytest.mark.parametrize("angles", [(0, 0, 0), (30, 0, 0), (0, -20, 0), (0, 0, 10), (25, -10, 5)])
def test_yaw_pitch_and_roll_are_read_off_a_scaled_rotation(angles):
    matrix = np.eye(4)
    matrix[:3, :3] = 1.3 * Rotation.from_euler("YXZ", angles, degrees=True).as_matrix()
    matrix[:3, 3] = [1.0, -2.0, -40.0]
    assert rotation_angles(matrix) == pytest.approx(angles, abs=1e-4)


def test_yaw_is_the_angle_between_the_gaze_and_the_camera_axis():
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec([0, np.deg2rad(35), 0]).as_matrix()
    forward = matrix[:3, 2]
    assert np.rad2deg(np.arctan2(forward[0], forward[2])) == pytest.approx(float(rotation_angles(matrix)[0]), abs=1e-4)


def test_small_images_are_enlarged_and_large_ones_kept():
    assert enlarged(np.zeros((64, 128, 3), np.uint8)).shape == (MEASURED_SIZE // 2, MEASURED_SIZE, 3)
    large = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    assert np.array_equal(enlarged(large), large)


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"face\.task: no such file"):
        MediaPipeFaceMeasurer(tmp_path / "face.task")
