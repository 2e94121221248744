import numpy as np
import pytest
import torch

from mggtalk.geometry.cameras import project, transform_points
from mggtalk.geometry.head_cloud import symmetric_cloud
from mggtalk.geometry.normals import normals_from_depth
from tests.geometry.heads import Ellipsoid, rigid, turned

SKULL = Ellipsoid((0.0, 0.0, 0.0), (8.0, 11.5, 10.0))
NOSE = Ellipsoid((0.0, -1.0, 10.0), (1.6, 2.5, 2.5))
SIZE, STRIDE, VOXEL_CM = 128, 2, 0.8
INTRINSICS = np.array([[250.0, 0, 64], [0, 250, 64], [0, 0, 1]])


def surface_level(points):
    """1 on the surface of the union of both bodies, below 1 inside."""
    return np.minimum(SKULL.level(points), NOSE.level(points))


@pytest.fixture(scope="module", params=[0, 30], ids=["frontal", "30 degrees"])
def seen(request):
    """A symmetric head, its depth map and its cloud."""
    rotation, translation = turned(request.param), np.array([0.0, 0.0, 60.0])
    depths = [body.depth(rotation, translation, INTRINSICS, SIZE) for body in (SKULL, NOSE)]
    nearest = np.minimum(*depths)
    depth = torch.from_numpy(np.where(np.isfinite(nearest), nearest, 0).astype(np.float32))
    intrinsics = torch.from_numpy(INTRINSICS.astype(np.float32))
    head_to_camera = torch.from_numpy(rigid(rotation, translation).astype(np.float32))
    normals = normals_from_depth(depth[None], intrinsics[None])[0][0]
    cloud = symmetric_cloud(depth, normals, head_to_camera, intrinsics, STRIDE, VOXEL_CM)
    return request.param, head_to_camera, depth, cloud


def test_visible_and_mirrored_points_lie_on_the_true_surface(seen):
    _, _, _, cloud = seen
    assert (cloud.twin < 0).sum() > 1000
    assert np.abs(surface_level(cloud.positions) - 1).max() < 1e-4


def test_visible_points_come_first_and_reproject_onto_their_source_pixel(seen):
    _, head_to_camera, depth, cloud = seen
    count = int((cloud.twin < 0).sum())
    assert (cloud.twin[:count] == -1).all()
    camera = transform_points(head_to_camera, torch.from_numpy(cloud.positions[:count]))
    pixels = project(camera, torch.from_numpy(INTRINSICS.astype(np.float32))).numpy()
    np.testing.assert_allclose(pixels, cloud.source_pixel[:count] + 0.5, atol=0.01)
    columns, rows = cloud.source_pixel[:count].T
    np.testing.assert_allclose(camera[:, 2].numpy(), depth.numpy()[rows, columns], atol=1e-3)
    assert set(columns % STRIDE) == set(rows % STRIDE) == {STRIDE // 2}


def test_mirrored_points_are_the_exact_mirror_of_their_twin(seen):
    _, _, _, cloud = seen
    mirrored = cloud.twin >= 0
    twin = cloud.twin[mirrored]
    assert len(set(twin)) == len(twin)
    for values in (cloud.positions, cloud.normals):
        np.testing.assert_array_equal(values[mirrored], values[twin] * np.array([-1, 1, 1], np.float32))
    np.testing.assert_array_equal(cloud.source_pixel[mirrored], cloud.source_pixel[twin])


def test_no_mirrored_point_shares_a_voxel_with_a_visible_one(seen):
    _, _, _, cloud = seen
    cells = np.floor(cloud.positions / np.float32(VOXEL_CM)).astype(int)
    visible = {tuple(cell) for cell in cells[cloud.twin < 0]}
    assert not any(tuple(cell) in visible for cell in cells[cloud.twin >= 0])


def test_what_the_turned_head_hides_is_filled_from_the_other_side(seen):
    """Turned to its left, a head hides its left side (+x); a frontal one hides nothing."""
    yaw, _, _, cloud = seen
    mirrored = cloud.positions[cloud.twin >= 0]
    visible = cloud.positions[cloud.twin < 0]
    if yaw == 0:
        # Only points whose voxel the grid of pixels has just missed: far apart at the silhouette.
        assert len(mirrored) < 0.25 * len(visible)
        assert abs((mirrored[:, 0] > 0).mean() - 0.5) < 0.05
    else:
        hidden_side = mirrored[mirrored[:, 0] > 6.5]
        assert len(hidden_side) > 200
        assert (visible[:, 0] > 6.5).sum() < 0.2 * (visible[:, 0] < -6.5).sum()


def test_normals_point_out_of_the_head(seen):
    _, _, _, cloud = seen
    on_skull = NOSE.level(cloud.positions) > 1.3
    outward = (cloud.positions - np.array(SKULL.center)) / np.square(SKULL.radii)
    cosine = (cloud.normals * outward).sum(-1) / np.linalg.norm(outward, axis=-1)
    assert np.median(cosine[on_skull]) > 0.999
    assert np.percentile(cosine[on_skull], 5) > 0.9


def test_pixels_without_a_normal_give_no_point():
    depth = torch.zeros(8, 8)
    depth[4:6, 4:6] = 50
    normals = torch.zeros(8, 8, 3)
    normals[5, 5, 2] = -1
    cloud = symmetric_cloud(depth, normals, torch.eye(4), torch.eye(3), stride=1, voxel_size=0.5)
    assert cloud.source_pixel[cloud.twin < 0].tolist() == [[5, 5]]


def test_an_empty_depth_map_gives_an_empty_cloud():
    cloud = symmetric_cloud(torch.zeros(8, 8), torch.zeros(8, 8, 3), torch.eye(4), torch.eye(3), 1, 0.5)
    assert cloud.positions.shape == cloud.normals.shape == (0, 3)
    assert cloud.twin.shape == (0,)
