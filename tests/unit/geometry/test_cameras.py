import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.spatial.transform import Rotation

from mggtalk.geometry.cameras import (
    invert_rigid,
    pixel_centers,
    project,
    rotate_directions,
    transform_points,
    unproject,
)
from tests.support.heads import rigid

coordinates = st.floats(-50, 50, width=32)
vectors = arrays.arrays(np.float64, 3, elements=coordinates)
clouds = arrays.arrays(np.float64, (7, 3), elements=coordinates)
transforms = st.builds(
    lambda turn, move: torch.from_numpy(rigid(Rotation.from_rotvec(turn / 10).as_matrix(), move)), vectors, vectors
)
cameras = st.builds(
    lambda fx, fy, cx, cy: torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=torch.float64),
    st.floats(50, 2000),
    st.floats(50, 2000),
    st.floats(-100, 1000),
    st.floats(-100, 1000),
)


@given(transforms, clouds)
def test_the_inverse_undoes_a_rigid_transform(matrix, points):
    there = transform_points(matrix, torch.from_numpy(points))
    np.testing.assert_allclose(transform_points(invert_rigid(matrix), there).numpy(), points, atol=1e-9)
    np.testing.assert_allclose((invert_rigid(matrix) @ matrix).numpy(), np.eye(4), atol=1e-9)


@given(transforms, clouds)
def test_directions_turn_as_the_difference_of_points_does(matrix, points):
    first, second = torch.from_numpy(points), torch.from_numpy(points[::-1].copy())
    moved = transform_points(matrix, first) - transform_points(matrix, second)
    np.testing.assert_allclose(rotate_directions(matrix, first - second).numpy(), moved.numpy(), atol=1e-9)


@given(cameras, clouds, arrays.arrays(np.float64, 7, elements=st.floats(1, 200)))
def test_what_is_unprojected_projects_back_onto_its_pixel_at_its_depth(intrinsics, cloud, depth):
    pixels = torch.from_numpy(cloud[:, :2] * 20)
    points = unproject(pixels, torch.from_numpy(depth), intrinsics)
    np.testing.assert_array_equal(points[:, 2].numpy(), depth)
    np.testing.assert_allclose(project(points, intrinsics).numpy(), pixels.numpy(), atol=1e-8)


def test_projection_agrees_with_the_pinhole_matrix_for_every_camera_of_a_batch():
    random = np.random.default_rng(0)
    points = random.uniform((-5, -5, 30), (5, 5, 60), (2, 3, 4, 3))
    matrices = np.array([[[500.0, 0, 320], [0, 400, 240], [0, 0, 1]]] * 6).reshape(2, 3, 3, 3)
    matrices[..., 0, 0] += 10 * np.arange(6).reshape(2, 3)
    homogeneous = np.einsum("abij,abnj->abni", matrices, points)
    got = project(torch.from_numpy(points), torch.from_numpy(matrices)).numpy()
    np.testing.assert_allclose(got, homogeneous[..., :2] / homogeneous[..., 2:], rtol=1e-12)


def test_pixel_centres_are_column_and_row_plus_a_half():
    centers = pixel_centers(3, 5)
    assert centers.shape == (3, 5, 2)
    assert centers[2, 4].tolist() == [4.5, 2.5]
    assert centers[0, 0].tolist() == [0.5, 0.5]


def test_gradients_reach_points_and_pose():
    points = torch.tensor([[1.0, 2.0, 50.0]], requires_grad=True)
    matrix = torch.eye(4, requires_grad=True)
    intrinsics = torch.tensor([[100.0, 0, 0], [0, 100, 0], [0, 0, 1]])
    project(transform_points(matrix, points), intrinsics)[0, 0].backward()
    # d(f x / z) = f / z dx - f x / z^2 dz
    assert points.grad is not None
    assert matrix.grad is not None
    assert points.grad[0].tolist() == pytest.approx([2.0, 0.0, -0.04])
    assert matrix.grad[0, 3].item() == pytest.approx(2.0)
