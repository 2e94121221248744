import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mggtalk.geometry.cameras import unproject
from mggtalk.geometry.normal_integration import IntegrationSettings, integrate_normals
from mggtalk.geometry.normals import normals_from_depth
from tests.support.analytic_head import YAWS, analytic_view, jumps, mesh_view

LEAST_SQUARES = IntegrationSettings(sharpness=0.0, rounds=4, steps=10)
NOISE_CM = 0.3
costly = settings(max_examples=settings().max_examples // 2)


def integrated(view, depth, how=None):
    rough, normals, _, intrinsics = view.tensors(depth)
    result = (
        integrate_normals(rough, normals, intrinsics, how) if how else integrate_normals(rough, normals, intrinsics)
    )
    return result[0].double().numpy()


def rmse(depth, view, where):
    return np.sqrt(np.mean((depth - view.depth)[where] ** 2))


@pytest.mark.parametrize("yaw_deg", YAWS)
@pytest.mark.parametrize("head", [analytic_view, mesh_view])
def test_noise_shrinks_to_a_fifth(head, yaw_deg):
    view = head(yaw_deg)
    noisy = view.noisy(NOISE_CM)
    assert rmse(integrated(view, noisy), view, view.known) < rmse(noisy, view, view.known) / 5


@pytest.mark.parametrize("yaw_deg", YAWS)
def test_the_edge_of_the_nose_is_kept_twice_as_well_as_by_least_squares(yaw_deg):
    view = analytic_view(yaw_deg)
    edge = (cv2.dilate(jumps(view).astype(np.uint8), np.ones((7, 7), np.uint8)) > 0) & view.known  # within 3 px
    assert edge.sum() > 300
    noisy = view.noisy(NOISE_CM)
    bilateral, plain = (rmse(integrated(view, noisy, how), view, edge) for how in (None, LEAST_SQUARES))
    assert bilateral < plain / 2


def test_a_smooth_error_of_the_depth_goes_too_where_normals_know_better():
    """Bend a face as a depth backend does: 1 cm from one side to the other."""
    view = mesh_view(15)
    bend = np.linspace(-1, 1, 512)[None] * 3
    bent = np.where(view.known, view.depth + bend, 0.0)
    far_reach = IntegrationSettings(reach=60.0, rounds=8)
    assert rmse(integrated(view, bent, far_reach), view, view.known) < 0.6 * rmse(bent, view, view.known)


def test_what_is_right_stays():
    view = mesh_view(0)
    assert np.percentile(np.abs(integrated(view, view.depth) - view.depth)[view.known], 99) < 0.1
    plane = np.tile(np.linspace(58, 62, 64), (64, 1))
    depth = torch.from_numpy(plane.astype(np.float32))[None]
    intrinsics = torch.tensor([[[120.0, 0, 32], [0, 120, 32], [0, 0, 1]]])
    normals, _ = normals_from_depth(depth, intrinsics)
    torch.testing.assert_close(integrate_normals(depth, normals, intrinsics), depth, rtol=0, atol=2e-3)


def test_without_normals_the_depth_is_as_it_was():
    view = mesh_view(30)
    depth, normals, _, intrinsics = view.tensors(view.noisy(NOISE_CM))
    torch.testing.assert_close(integrate_normals(depth, torch.zeros_like(normals), intrinsics), depth)
    away = integrate_normals(depth, -normals, intrinsics)  # normals that face away say nothing
    torch.testing.assert_close(away, depth)


def test_an_empty_map_stays_empty():
    nothing = torch.zeros(2, 40, 30)
    assert not integrate_normals(nothing, torch.zeros(2, 40, 30, 3), torch.eye(3).expand(2, 3, 3)).any()


def test_parts_that_do_not_touch_do_not_pull_at_each_other():
    view = mesh_view(0)
    hole = view.known.copy()
    hole[:, 250:256] = False
    depth = np.where(hole, view.depth, 0.0)
    moved = np.where(hole & (np.arange(512) > 255), 1.1, 1.0)
    before, after = integrated(view, depth), integrated(view, depth * moved)
    np.testing.assert_allclose(after[hole] / before[hole], moved[hole], rtol=1e-3)


@costly
@given(st.floats(0.1, 10.0))
def test_units_do_not_matter(scale):
    view = mesh_view(15, 128)
    noisy = view.noisy(NOISE_CM)
    scaled = integrated(view, noisy * scale, IntegrationSettings(reach=IntegrationSettings().reach * scale))
    np.testing.assert_allclose(scaled / scale, integrated(view, noisy), rtol=1e-4)


@costly
@given(st.lists(st.tuples(st.sampled_from(YAWS), st.integers(0, 9)), min_size=1, max_size=4))
def test_a_batch_gives_what_each_frame_gives_by_itself(frames):
    views = [(mesh_view(yaw, 96), seed) for yaw, seed in frames]
    parts = [view.tensors(view.noisy(NOISE_CM, seed)) for view, seed in views]
    depth, normals, _, intrinsics = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    batch = integrate_normals(depth, normals, intrinsics)
    alone = torch.cat([integrate_normals(rough, facing, camera) for rough, facing, _, camera in parts])
    torch.testing.assert_close(batch, alone, rtol=1e-5, atol=0)


@costly
@given(st.integers(9, 70), st.integers(9, 70), st.floats(-40, 40), st.floats(-40, 40))
def test_a_tilted_plane_of_any_size_comes_back_from_its_normals(height, width, tilt_x, tilt_y):
    """Rough depth: the plane's mean distance alone."""
    slope = np.tan(np.radians([tilt_x, tilt_y]))
    normal = np.array([slope[0], slope[1], -1.0]) / np.linalg.norm([*slope, 1.0])
    intrinsics = torch.tensor([[[300.0, 0, width / 2], [0, 250.0, height / 2], [0, 0, 1]]])
    pixels = torch.stack(torch.meshgrid(torch.arange(width) + 0.5, torch.arange(height) + 0.5, indexing="xy"), -1)
    rays = unproject(pixels.reshape(1, -1, 2), torch.ones(1, height * width), intrinsics).reshape(height, width, 3)
    truth = (-50.0 / (rays.double().numpy() @ -normal)) * normal[2]
    rough = torch.full((1, height, width), float(truth.mean()))
    normals = torch.from_numpy(normal.astype(np.float32)).expand(1, height, width, 3)
    how = IntegrationSettings(reach=300.0, rounds=6, steps=12)
    got = integrate_normals(rough, normals, intrinsics, how)[0].numpy()
    np.testing.assert_allclose(got / got.mean(), truth / truth.mean(), atol=2e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("yaw_deg", YAWS)
def test_cuda_gives_what_the_cpu_gives(yaw_deg):
    view = analytic_view(yaw_deg)
    depth, normals, _, intrinsics = view.tensors(view.noisy(NOISE_CM))
    on_cpu = integrate_normals(depth, normals, intrinsics)
    on_gpu = integrate_normals(depth.cuda(), normals.cuda(), intrinsics.cuda()).cpu()
    torch.testing.assert_close(on_gpu, on_cpu, rtol=1e-4, atol=0)
