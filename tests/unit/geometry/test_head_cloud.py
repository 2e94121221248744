import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mggtalk.geometry.cameras import project, transform_points
from mggtalk.geometry.head_cloud import symmetric_points
from mggtalk.geometry.normal_integration import integrate_normals
from tests.support.analytic_head import (
    NOSE,
    SKULL,
    TRANSLATION,
    YAWS,
    analytic_view,
    distance_cm,
    mesh_view,
    outward,
)
from tests.support.heads import rigid, turned

STRIDE, VOXEL_CM = 2, 0.4
costly = settings(max_examples=settings().max_examples // 2)


def cloud_of(view, depth=None, stride=STRIDE, voxel_cm=VOXEL_CM):
    maps, normals, pose, camera = view.tensors(depth)
    (cloud,) = symmetric_points(maps, normals, pose, camera, maps == 0, stride, voxel_cm).clouds(1)
    return cloud


@pytest.fixture(scope="module", params=YAWS, ids="{} degrees".format)
def seen(request):
    """The analytic head and its cloud."""
    view = analytic_view(request.param)
    return request.param, view, cloud_of(view)


def front_surface(spacing_cm):
    """Points on the front half of the analytic head, the nose's base left out."""
    count = int(4 * np.pi * 10**2 / spacing_cm**2)
    step = np.arange(count) + 0.5
    height, turn = 1 - 2 * step / count, np.pi * (1 + 5**0.5) * step  # Fibonacci's sphere
    sphere = np.stack([np.sqrt(1 - height**2) * np.sin(turn), height, np.sqrt(1 - height**2) * np.cos(turn)], axis=1)
    points = np.concatenate([sphere * body.radii + body.center for body in (SKULL, NOSE)])
    return points[(distance_cm(points) < 1e-3) & (points[:, 2] > 0)]


def is_visible(points, view):
    """Return which points of head space are seen: at the depth of the map around their pixel."""
    camera = points @ view.head_to_camera[:3, :3].T + TRANSLATION
    columns, rows = (camera[:, :2] / camera[:, 2:] * view.intrinsics[0, 0] + view.intrinsics[0, 2]).T.astype(int)
    return camera[:, 2] < view.depth[rows, columns] + 0.15


def test_visible_and_mirrored_points_lie_on_the_true_surface(seen):
    _, _, cloud = seen
    assert (cloud.mirrored_of < 0).sum() > 10_000
    assert distance_cm(cloud.positions).max() < 1e-3


def test_at_30_degrees_the_hidden_half_is_there():
    view = analytic_view(30)
    cloud = cloud_of(view)
    surface = front_surface(0.3)
    hidden = surface[(surface[:, 0] > 0) & ~is_visible(surface, view)]  # it turns to its left, and hides that side
    assert len(hidden) > 500
    mirrored = cloud.positions[cloud.mirrored_of >= 0].astype(float)
    nearest = torch.cdist(torch.from_numpy(hidden), torch.from_numpy(mirrored)).amin(dim=1)
    assert (nearest < 0.2).double().mean() > 0.9


@pytest.mark.parametrize("yaw_deg", [15, 30, 45])
def test_of_noisy_depth_and_a_pose_that_is_off_99_percent_of_the_mirrored_points_lie_within_4_mm(yaw_deg):
    """Half a degree and half a millimetre: what tracks of real clips are off by; and 3 mm of noise, reconstructed."""
    view = analytic_view(yaw_deg)
    noisy, normals, _, intrinsics = view.tensors(view.noisy(0.3))
    depth = integrate_normals(noisy, normals, intrinsics)
    pose = rigid(turned(yaw_deg + 0.5), TRANSLATION + np.array([0.05, 0, 0])).astype(np.float32)
    (cloud,) = symmetric_points(
        depth, normals, torch.from_numpy(pose)[None], intrinsics, depth == 0, STRIDE, VOXEL_CM
    ).clouds(1)
    camera = transform_points(torch.from_numpy(pose).double(), torch.from_numpy(cloud.positions).double()).numpy()
    truth = (camera - TRANSLATION) @ view.head_to_camera[:3, :3]
    assert (distance_cm(truth[cloud.mirrored_of >= 0]) > 0.4).mean() < 0.01


def test_mirrored_points_lie_behind_what_is_seen():
    """A bun on one side of the head: its mirror image would hide the other side, and is dropped."""
    view = analytic_view(0)
    points = view.points()
    bun = np.exp(-(((points[..., 0] - 4.0) ** 2 + (points[..., 1] - 5.0) ** 2) / 1.5)) * view.known
    depth = np.where(view.known, view.depth - 2.0 * bun, 0.0)
    cloud = cloud_of(view, depth)
    mirrored = cloud.positions[cloud.mirrored_of >= 0]
    camera = mirrored @ view.head_to_camera[:3, :3].T + TRANSLATION
    columns, rows = (camera[:, :2] / camera[:, 2:] * view.intrinsics[0, 0] + view.intrinsics[0, 2]).T.astype(int)
    behind = camera[:, 2] - depth[rows, columns]
    assert behind[depth[rows, columns] > 0].min() > -0.2  # within a pixel of the bun's steep side
    opposite = (np.abs(mirrored[:, 0] + 4) < 1) & (np.abs(mirrored[:, 1] - 5) < 1)
    assert not opposite.any()
    assert (np.abs(cloud.positions[cloud.mirrored_of < 0] - (4, 5, 10)).max(axis=1) < 1).sum() > 100


def test_mirrored_points_do_not_stand_out_where_the_image_shows_no_head():
    """Hair that stands out on one side only; outside the video frame nothing is known, and mirrored hair stays."""
    view = analytic_view(0)
    maps, normals, pose, camera = view.tensors()
    hair = np.zeros_like(view.known)
    hair[150:250, 380:420] = True
    hair &= ~view.known
    maps[0, torch.from_numpy(hair)] = 60.0
    normals[0, torch.from_numpy(hair)] = torch.tensor([0.0, 0.0, -1.0])
    for empty, expected in ((maps == 0, 0), (torch.zeros_like(maps, dtype=torch.bool), hair.sum() / STRIDE**2)):
        points = symmetric_points(maps, normals, pose, camera, empty, STRIDE, VOXEL_CM)
        row, column = points.pixel[points.mirror_index].flip(-1).unbind(-1)
        kept = torch.from_numpy(hair)[row, column].sum()
        assert kept == pytest.approx(expected, rel=0.1, abs=30)  # what is a pixel from the outline may be behind it


def test_visible_points_come_first_and_reproject_onto_their_source_pixel(seen):
    _, view, cloud = seen
    depth, _, head_to_camera, intrinsics = view.tensors()
    count = int((cloud.mirrored_of < 0).sum())
    assert (cloud.mirrored_of[:count] == -1).all()
    camera = transform_points(head_to_camera[0], torch.from_numpy(cloud.positions[:count]))
    pixels = project(camera, intrinsics[0]).numpy()
    np.testing.assert_allclose(pixels, cloud.source_pixel[:count] + 0.5, atol=0.01)
    columns, rows = cloud.source_pixel[:count].T
    np.testing.assert_allclose(camera[:, 2].numpy(), depth[0].numpy()[rows, columns], atol=1e-3)
    assert set(columns % STRIDE) == set(rows % STRIDE) == {STRIDE // 2}


def test_mirrored_points_are_the_exact_mirror_of_their_twin(seen):
    _, _, cloud = seen
    mirrored = cloud.mirrored_of >= 0
    visible_index = cloud.mirrored_of[mirrored]
    assert len(set(visible_index)) == len(visible_index)
    for values in (cloud.positions, cloud.normals):
        np.testing.assert_array_equal(values[mirrored], values[visible_index] * np.array([-1, 1, 1], np.float32))
    np.testing.assert_array_equal(cloud.source_pixel[mirrored], cloud.source_pixel[visible_index])


def test_no_mirrored_point_shares_a_voxel_with_a_visible_one(seen):
    _, _, cloud = seen
    cells = np.floor(cloud.positions / np.float32(VOXEL_CM)).astype(int)
    visible = {tuple(cell) for cell in cells[cloud.mirrored_of < 0]}
    assert not any(tuple(cell) in visible for cell in cells[cloud.mirrored_of >= 0])


def test_a_frontal_head_hides_little_and_a_turned_one_its_far_side(seen):
    yaw, _, cloud = seen
    mirrored, visible = cloud.positions[cloud.mirrored_of >= 0], cloud.positions[cloud.mirrored_of < 0]
    if yaw == 0:
        assert len(mirrored) < 0.1 * len(visible)
    else:
        assert (mirrored[:, 0] > 0).mean() > 0.8  # it turns to its left
        assert len(mirrored) > 0.1 * len(visible) * yaw / 45


def test_normals_point_out_of_the_head(seen):
    _, _, cloud = seen
    on_skull = NOSE.level(cloud.positions) > 1.1
    cosine = (cloud.normals * outward(SKULL, cloud.positions)).sum(-1)
    np.testing.assert_allclose(cosine[on_skull], 1, atol=1e-3)


def test_pixels_without_a_normal_give_no_point():
    depth = torch.zeros(1, 8, 8)
    depth[:, 4:6, 4:6] = 50
    normals = torch.zeros(1, 8, 8, 3)
    normals[:, 5, 5, 2] = -1
    (cloud,) = symmetric_points(depth, normals, torch.eye(4)[None], torch.eye(3)[None], depth == 0, 1, 0.5).clouds(1)
    assert cloud.source_pixel[cloud.mirrored_of < 0].tolist() == [[5, 5]]


def test_empty_depth_maps_give_empty_clouds():
    depth, normals = torch.zeros(2, 8, 8), torch.zeros(2, 8, 8, 3)
    points = symmetric_points(
        depth, normals, torch.eye(4).expand(2, 4, 4), torch.eye(3).expand(2, 3, 3), depth == 0, 1, 0.5
    )
    for cloud in points.clouds(2):
        assert cloud.positions.shape == cloud.normals.shape == (0, 3)
        assert cloud.mirrored_of.shape == (0,)


@costly
@given(st.lists(st.sampled_from(YAWS), min_size=1, max_size=4), st.sampled_from([1, 2, 3]))
def test_a_batch_gives_what_each_frame_gives_by_itself(yaws, stride):
    parts = [mesh_view(yaw, 96).tensors() for yaw in yaws]
    depth, normals, pose, camera = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    clouds = symmetric_points(depth, normals, pose, camera, depth == 0, stride, 0.4).clouds(len(yaws))
    for cloud, part in zip(clouds, parts, strict=True):
        (alone,) = symmetric_points(*part, part[0] == 0, stride, 0.4).clouds(1)
        for name in ("positions", "normals", "source_pixel", "mirrored_of"):
            np.testing.assert_allclose(getattr(cloud, name), getattr(alone, name), atol=1e-5)


def test_gradients_reach_the_depth():
    depth, normals, pose, camera = mesh_view(30, 96).tensors()
    depth.requires_grad_()
    points = symmetric_points(depth, normals, pose, camera, depth == 0, 1, 0.4)
    points.positions[points.mirror_index].sum().backward()
    assert depth.grad is not None
    assert (depth.grad != 0).sum() == len(points.mirror_index) > 50


@pytest.mark.gpu
@pytest.mark.parametrize("yaw_deg", YAWS)
def test_cuda_gives_what_the_cpu_gives(yaw_deg):
    depth, normals, pose, camera = analytic_view(yaw_deg).tensors()
    on_cpu = symmetric_points(depth, normals, pose, camera, depth == 0, 1, VOXEL_CM)
    on_gpu = symmetric_points(depth.cuda(), normals.cuda(), pose.cuda(), camera.cuda(), depth.cuda() == 0, 1, VOXEL_CM)
    torch.testing.assert_close(on_gpu.positions.cpu(), on_cpu.positions, rtol=1e-4, atol=1e-4)
    # A point on the border of a voxel may fall to either side by rounding.
    assert len(on_gpu.mirror_index) == pytest.approx(len(on_cpu.mirror_index), rel=0.01)
