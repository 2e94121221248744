import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from mggtalk.perception.depth.mesh_depth import HEAD_CENTER, HEAD_RADII
from mggtalk.stages.shards.crop import SquareCrop, head_crop

INTRINSICS = np.array([[900.0, 0, 640], [0, 900, 360], [0, 0, 1]])
crops = st.builds(SquareCrop, st.integers(-200, 500), st.integers(-200, 400), st.integers(60, 800), st.just(256))


def ramp(width=640, height=360):
    """A picture whose red tells the column and whose green tells the row."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack((columns * 255 / width, rows * 255 / height, np.full_like(rows, 77)), axis=-1).astype(np.uint8)


@given(crops)
def test_pixels_of_the_crop_show_what_the_similarity_says(crop):
    image = crop.image(ramp())
    assert image.shape == (256, 256, 3)
    places = np.array([(60, 60), (200, 60), (128, 128), (30, 220)])
    for column, row in places:
        video = (np.array([column, row]) + 0.5) / crop.scale + (crop.left, crop.top)
        inside = (video > 8).all() and (video < (632, 352)).all()
        outside = (video < -8).any() or (video > (648, 368)).any()
        if inside:
            expected = (video - 0.5) * 255 / (640, 360)
            assert image[row, column, :2] == pytest.approx(expected, abs=2)
            assert image[row, column, 2] == pytest.approx(77, abs=1)
        if outside:
            assert image[row, column].tolist() == [0, 0, 0]


@given(crops)
def test_the_valid_box_is_what_the_frame_covers(crop):
    left, top, right, bottom = crop.valid_box(640, 360)
    corners = np.clip(crop.points(np.array([[0.0, 0.0], [640.0, 360.0]])), 0, crop.size)
    assert (left, top, right, bottom) == pytest.approx(tuple(corners.ravel()))
    covered = crop.image(np.full((360, 640, 3), 200, np.uint8))[..., 0] > 100
    columns, rows = np.flatnonzero(covered.any(axis=0)), np.flatnonzero(covered.any(axis=1))
    if columns.size and rows.size:
        assert (columns[0], columns[-1] + 1) == pytest.approx((left, right), abs=1)
        assert (rows[0], rows[-1] + 1) == pytest.approx((top, bottom), abs=1)


@given(crops, st.tuples(st.floats(-20, 20), st.floats(-20, 20), st.floats(40, 120)))
def test_the_crops_intrinsics_project_where_its_points_are(crop, point):
    video = INTRINSICS @ point
    cropped = crop.intrinsics(INTRINSICS) @ point
    np.testing.assert_allclose(cropped[:2] / cropped[2], crop.points(video[:2] / video[2]), atol=1e-9)
    homogeneous = np.array([*(video[:2] / video[2]), 1])
    np.testing.assert_allclose(crop.video_to_crop @ homogeneous, crop.points(homogeneous[:2]), atol=1e-9)


@given(st.integers(0, 2**32 - 1), st.floats(1.0, 1.6))
def test_the_mean_head_lies_inside_in_every_pose(seed, margin):
    random = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (6, 1, 1))
    turns = Rotation.from_euler("YXZ", random.uniform(-50, 50, (6, 3)), degrees=True).as_matrix()
    poses[:, :3, :3] = np.diag([1.0, -1.0, -1.0]) @ turns
    poses[:, :3, 3] = random.uniform((-8, -5, 70), (8, 5, 100), (6, 3))
    crop = head_crop(poses.astype(np.float32), INTRINSICS, margin, 256)
    directions = random.normal(size=(4000, 3))
    surface = HEAD_CENTER + HEAD_RADII * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    camera = np.einsum("tij,nj->tni", poses[:, :3, :3], surface) + poses[:, None, :3, 3]
    pixels = crop.points((camera @ INTRINSICS.T)[..., :2] / camera[..., 2:]).reshape(-1, 2)
    # The box is that of a parallel projection: near parts stand out by a few per cent of the head.
    slack = 0.05 * crop.size
    assert pixels.min() > -slack
    assert pixels.max() < crop.size + slack
    extent = np.ptp(pixels, axis=0).max()
    assert extent == pytest.approx(crop.size / margin, rel=0.1)
    middle = (pixels.min(axis=0) + pixels.max(axis=0)) / 2
    assert middle == pytest.approx(crop.size / 2, abs=0.06 * crop.size)
