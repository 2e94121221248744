import numpy as np
import pytest
import torch

from mggtalk.geometry.normals import normals_from_depth

SIZE = 96
INTRINSICS = torch.tensor([[110.0, 0, 50], [0, 105, 46], [0, 0, 1]])


def rays():
    columns, rows = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    return np.stack(((columns - 50) / 110, (rows - 46) / 105, np.ones_like(columns)), axis=-1)


def solve(depth):
    normals, valid = normals_from_depth(torch.from_numpy(depth.astype(np.float32))[None], INTRINSICS[None])
    return normals[0].numpy(), valid[0].numpy()


def angles_deg(first, second):
    return np.degrees(np.arccos(np.clip((first * second).sum(axis=-1), -1, 1)))


@pytest.mark.parametrize("normal", [(0, 0, -1), (0.6, 0, -0.8), (0, -0.6, -0.8), (-0.48, 0.36, -0.8)])
def test_a_plane_has_one_normal_everywhere_even_at_the_image_edge(normal):
    depth = 50 * normal[2] / (rays() @ normal)
    normals, valid = solve(depth)
    assert valid.all()
    assert angles_deg(normals, np.array(normal)).max() < 0.2


def test_normals_of_a_sphere_point_away_from_its_centre():
    center, radius = np.array([2.0, -1.0, 60.0]), 18.0
    direction = rays()
    along, squared = direction @ center, (direction**2).sum(-1)
    root = along**2 - squared * (center @ center - radius**2)
    depth = np.where(root > 0, (along - np.sqrt(np.maximum(root, 0))) / squared, 0)
    normals, valid = solve(depth)
    truth = (direction * depth[..., None] - center) / radius
    assert (valid <= (depth > 0)).all()
    assert np.linalg.norm(normals[valid], axis=-1) == pytest.approx(1, abs=1e-5)
    assert not normals[~valid].any()
    errors = angles_deg(normals, truth)
    facing = valid & ((truth * direction).sum(-1) < -0.5 * np.sqrt(squared))  # within 60 degrees
    assert facing.sum() > 2000
    assert np.median(errors[facing]) < 0.2
    assert np.percentile(errors[facing], 99) < 3
    towards_camera = (normals * direction).sum(-1)
    assert (towards_camera[valid] < 0).all()


def test_a_pixel_without_a_neighbour_along_an_axis_has_no_normal():
    depth = np.zeros((SIZE, SIZE))
    depth[10, 10:20] = 50  # a row of one pixel's height
    depth[30:32, 30:32] = 50  # the least patch that has normals
    depth[60, 60] = 50
    normals, valid = solve(depth)
    assert set(zip(*np.nonzero(valid), strict=True)) == {(30, 30), (30, 31), (31, 30), (31, 31)}
    assert angles_deg(normals[30:32, 30:32], np.array([0, 0, -1.0])).max() < 0.2


def test_unknown_depth_beside_the_surface_does_not_bend_it():
    depth = np.full((SIZE, SIZE), 50.0)
    depth[:, 40:] = 0
    normals, valid = solve(depth)
    assert valid[:, :40].all()
    assert not valid[:, 40:].any()
    assert angles_deg(normals[:, :40], np.array([0, 0, -1.0])).max() < 0.2


def test_every_map_of_a_batch_has_its_own_intrinsics():
    depth = torch.rand(2, 12, 12, generator=torch.Generator().manual_seed(0)) + 50
    intrinsics = torch.stack((INTRINSICS, INTRINSICS * torch.tensor([[2.0], [3.0], [1.0]])))
    both, _ = normals_from_depth(depth, intrinsics)
    for index in range(2):
        one, _ = normals_from_depth(depth[index : index + 1], intrinsics[index : index + 1])
        assert torch.equal(both[index], one[0])
    assert not torch.allclose(both[0], normals_from_depth(depth[:1], intrinsics[1:])[0][0], atol=0.05)


def test_gradients_reach_the_depth():
    depth = torch.full((1, 8, 8), 50.0, requires_grad=True)
    normals, _ = normals_from_depth(depth, INTRINSICS[None])
    normals[0, 4, 4, 0].backward()
    assert depth.grad is not None
    # Moving the right neighbour away turns the normal to the right (x grows), the left one the other way.
    assert depth.grad[0, 4, 5] > 0 > depth.grad[0, 4, 3]
