"""Resampling keeps pixels, intrinsics, landmarks and validity consistent."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mggtalk.shards import Shards
from mggtalk.shards.codecs.resample import (
    resize_depth,
    resize_image,
    resize_mask,
    resize_normals,
    scale_intrinsics,
    valid_mask,
)
from tests.support.shard_samples import make_clip


@given(st.integers(1, 64), st.tuples(*[st.floats(-5, 5)] * 2, st.floats(20, 90)))
def test_a_point_projects_to_the_same_relative_position_at_any_size(size, point):
    intrinsics = np.array([[90, 0.0, 31], [0, 95, 33], [0, 0, 1]], np.float32)
    stored, scaled = (matrix @ point for matrix in (intrinsics, scale_intrinsics(intrinsics, size / 64)))
    assert scaled[:2] / scaled[2] / size == pytest.approx(stored[:2] / stored[2] / 64, abs=1e-5)


@pytest.mark.parametrize("size", [16, 8, 12])
def test_a_blob_in_the_image_moves_with_the_intrinsics(size):
    rows, columns = np.mgrid[:32, :32] + 0.5
    blob = np.exp(-((columns - 20.3) ** 2 + (rows - 9.8) ** 2) / 18) * 255
    image = resize_image(np.repeat(blob[..., None], 3, -1).astype(np.uint8), size)[..., 0].astype(float)
    rows, columns = np.mgrid[:size, :size] + 0.5
    centre = np.array([(columns * image).sum(), (rows * image).sum()]) / image.sum()
    assert centre * 32 / size == pytest.approx([20.3, 9.8], abs=0.25)


def test_landmarks_project_onto_landmarks_px_at_every_size(tmp_path, write_dataset):
    write_dataset(tmp_path / "shards", [make_clip("0" * 16)])
    shards = Shards(tmp_path / "shards")
    for size in (32, 16, 11):
        head = shards.head_frame("0" * 16, 1, size)
        in_camera = head.landmarks @ head.head_to_camera[:3, :3].T + head.head_to_camera[:3, 3]
        projected = in_camera @ head.intrinsics.T
        assert projected[:, :2] / projected[:, 2:] == pytest.approx(head.landmarks_px, abs=1e-3)
        assert head.image.shape == (size, size, 3)
        assert head.head_mask.shape == head.valid.shape == (size, size)


def test_a_mask_pixel_is_set_where_at_least_half_of_it_was():
    mask = np.zeros((4, 4), bool)
    mask[0, 0] = mask[1, 1] = mask[0, 2] = True
    mask[2:, :2] = True
    assert resize_mask(mask, 2).tolist() == [[True, False], [True, False]]


def test_depth_at_an_edge_is_the_mean_of_what_is_known():
    depth = np.full((4, 4), 50, np.float32)
    depth[0, 0] = 54
    depth[0, 1] = depth[3, 2] = depth[3, 3] = depth[2, 2] = 0
    small = resize_depth(depth, 2)
    assert small[0, 0] == pytest.approx((54 + 50 + 50) / 3)
    assert small[0, 1] == small[1, 0] == 50
    assert small[1, 1] == 0


def test_normals_at_an_edge_are_the_unit_mean_of_what_is_known():
    normals = np.zeros((4, 4, 3), np.float32)
    normals[:2, :2] = [0, 0, -1]
    normals[0, 0] = 0
    normals[0, 2] = [0.6, 0, -0.8]
    normals[1, 2] = [-0.6, 0, -0.8]
    normals[2, 0] = [1, 0, 0]
    small = resize_normals(normals, 2)
    assert small[0, 0] == pytest.approx([0, 0, -1])
    assert small[0, 1] == pytest.approx([0, 0, -1], abs=1e-6)
    assert not small[1].any()


@given(st.integers(1, 48))
def test_a_plane_keeps_its_depth_and_normal_to_its_very_edge(size):
    known = np.zeros((48, 48), bool)
    known[5:40, 7:33] = True
    depth = resize_depth(known * np.float32(60), size)
    normal = np.array([0.36, 0.48, -0.8], np.float32)
    normals = resize_normals(known[..., None] * normal, size)
    assert depth[depth > 0] == pytest.approx(60, rel=1e-5)
    there = normals.any(-1)
    assert np.array_equal(there, depth > 0)
    assert np.abs(normals[there] - normal).max(initial=0) < 1e-5


def test_nothing_changes_at_the_stored_size():
    random = np.random.default_rng(0)
    depth = random.uniform(0, 1, (8, 8)).astype(np.float32)
    mask = random.uniform(size=(8, 8)) > 0.5
    assert resize_depth(depth, 8) is depth
    assert resize_mask(mask, 8) is mask


@pytest.mark.parametrize("size", [64, 32, 16, 20])
def test_valid_pixels_hold_nothing_from_outside_the_frame(size):
    box = (10.0, -5.0, 61.0, 40.00001)
    inside = np.zeros((64, 64), np.uint8)
    inside[:40, 10:61] = 255
    covered = resize_image(np.repeat(inside[..., None], 3, -1), size)[..., 0]
    assert np.array_equal(valid_mask(box, 64, size), covered == 255)


def test_valid_forgives_rounding_of_the_frame_edge():
    assert valid_mask((-1e-5, 1e-5, 31.99999, 32.00001), 32, 32).all()
    assert not valid_mask((0.0, 0.0, 31.9, 32.0), 32, 32)[:, -1].any()
