import cv2
import numpy as np
import pytest

from mggtalk.evaluation.baselines import STABLE_LANDMARKS, MeshWarp, _triangle_of_pixel, copy_source, stable_indices
from mggtalk.geometry.head.landmark_sets import ibug_68, mediapipe_478
from tests.unit.evaluation import synthetic


@pytest.fixture
def source():
    return synthetic.make_frame(synthetic.checkerboard(), synthetic.grid_landmarks(), synthetic.head_to_camera())


def driver_of(source, landmarks, **pose):
    return synthetic.make_frame(source.image, landmarks, synthetic.head_to_camera(**pose))


def sampled(lookup, positions):
    """Sample the lookup map between its pixel centres (bilinear)."""
    x, y = positions[:, 0] - 0.5, positions[:, 1] - 0.5
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    a, b = (x - column)[:, None], (y - row)[:, None]
    top = lookup[row, column] * (1 - a) + lookup[row, column + 1] * a
    bottom = lookup[row + 1, column] * (1 - a) + lookup[row + 1, column + 1] * a
    return top * (1 - b) + bottom * b


def test_copy_source_ignores_the_driver(source):
    assert np.array_equal(copy_source(source), source.image)


def test_the_source_as_driver_gives_the_source(source):
    assert np.array_equal(MeshWarp(source).warp(source), source.image)


@pytest.mark.parametrize(
    "pose", [{"shift_cm": (2.0, -1.5)}, {"yaw_deg": 20.0}, {"yaw_deg": -12.0, "shift_cm": (1.0, 1.0)}]
)
def test_landmarks_of_the_source_land_on_the_drivers(source, pose):
    moved = synthetic.grid_landmarks()
    moved[7] += [0.8, -0.6, 0.0]  # an expression on top of the pose
    driver = driver_of(source, moved, **pose)
    shown = sampled(MeshWarp(source).lookup(driver), driver.landmarks_px)
    assert np.abs(driver.landmarks_px - source.landmarks_px).max() > 1.5
    assert np.linalg.norm(shown - source.landmarks_px, axis=1).max() < 1.0


def test_the_warp_takes_every_landmark_of_another_set():
    """Warp the 68 points of a face that turns and opens its mouth."""
    landmarks = ibug_68()
    opened = landmarks.neutral - np.clip((-4.3 - landmarks.neutral[:, 1:2]) / 1, 0, 1) * (0, 1.0, 0)
    source = synthetic.make_frame(synthetic.checkerboard(), landmarks.neutral, synthetic.head_to_camera())
    driver = driver_of(source, opened, yaw_deg=10.0)
    shown = sampled(MeshWarp(source).lookup(driver), driver.landmarks_px)
    assert np.abs(driver.landmarks_px - source.landmarks_px).max() > 1.5
    assert np.linalg.norm(shown - source.landmarks_px, axis=1).max() < 1.0


def test_a_dot_on_a_landmark_is_carried_to_the_drivers_landmark():
    landmarks = synthetic.grid_landmarks()
    blank = np.zeros((64, 64, 3), np.uint8)
    plain = synthetic.make_frame(blank, landmarks, synthetic.head_to_camera())
    column, row = np.floor(plain.landmarks_px[12]).astype(int)
    image = blank.copy()
    image[row - 1 : row + 2, column - 1 : column + 2] = 255
    source = synthetic.make_frame(image, landmarks, synthetic.head_to_camera())
    driver = synthetic.make_frame(blank, landmarks, synthetic.head_to_camera(shift_cm=(3.0, 1.0)))
    warped = MeshWarp(source).warp(driver)[..., 0].astype(float)
    rows, columns = np.mgrid[:64, :64] + 0.5
    centre = np.array([(warped * columns).sum(), (warped * rows).sum()]) / warped.sum()
    expected = driver.landmarks_px[12] - plain.landmarks_px[12] + [column + 0.5, row + 0.5]
    assert np.linalg.norm(centre - expected) < 1.0


def test_the_border_of_the_image_stays(source):
    driver = driver_of(source, synthetic.grid_landmarks(), shift_cm=(2.0, 0.0))
    lookup = MeshWarp(source).lookup(driver)
    assert np.abs(lookup[0, :, 1] - 0.5).max() < 0.6
    assert np.allclose(lookup[0, 0], [0.5, 0.5], atol=0.5)
    assert np.allclose(lookup[-1, -1], [63.5, 63.5], atol=0.5)


@pytest.mark.parametrize(("towards_camera_cm", "seen"), [(6.0, "moved"), (-6.0, "still")])
def test_where_the_mesh_folds_the_nearer_side_is_seen(towards_camera_cm, seen):
    """Move the middle column of landmarks (x = 32) across the column to its left (x = 25.6), to x = 22."""
    landmarks = synthetic.grid_landmarks()
    landmarks[:, 2] = 0.0
    source = synthetic.make_frame(synthetic.checkerboard(), landmarks, synthetic.head_to_camera())
    folded = landmarks.copy()
    folded[2::5, 2] = towards_camera_cm
    folded[2::5, 0] = (22.0 - 32.0) / 128.0 * (60.0 - towards_camera_cm)
    driver = driver_of(source, folded)
    assert np.allclose(driver.landmarks_px[2::5, 0], 22.0, atol=1e-3)
    shown = MeshWarp(source).lookup(driver)[32, 24]
    assert (shown[0] > 32.0) if seen == "moved" else (shown[0] < 25.6)


@pytest.mark.parametrize("edge", np.arange(32.0, 33.0, 0.125))
def test_a_triangle_is_drawn_at_most_half_a_pixel_beyond_its_edge(edge):
    left = [[edge, -200.0], [edge, 264.0], [-500.0, 32.0]]
    right = [[edge, -200.0], [edge, 264.0], [564.0, 32.0]]
    owners = (
        _triangle_of_pixel(np.array([left]), np.array([0]), 64),
        _triangle_of_pixel(np.array([right]), np.array([0]), 64),
    )
    last, first = (np.flatnonzero(owner[32] == 0) for owner in owners)
    assert last.max() + 0.5 - edge <= 0.5
    assert edge - (first.min() + 0.5) <= 0.5
    assert set(last) | set(first) == set(range(64))


def test_every_pixel_is_covered_even_in_profile(source):
    driver = driver_of(source, synthetic.grid_landmarks(), yaw_deg=75.0, shift_cm=(0.0, 5.0))
    lookup = MeshWarp(source).lookup(driver)
    hull = np.zeros((64, 64), np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.floor(driver.landmarks_px).astype(np.int32)), 1)
    rows, columns = np.mgrid[:64, :64] + 0.5
    # The face moved down by ten pixels; a pixel that no triangle covers would look up its own position.
    moved = np.linalg.norm(lookup - np.stack([columns, rows], axis=-1), axis=-1)
    assert hull.sum() > 100
    assert moved[hull > 0].min() > 3.0


def test_pixels_outside_the_video_frame_are_never_warped_into_view():
    valid = np.ones((64, 64), bool)
    valid[:, :14] = False
    image = np.full((64, 64, 3), 90, np.uint8)
    image[~valid] = 0
    landmarks = synthetic.grid_landmarks()
    source = synthetic.make_frame(image, landmarks, synthetic.head_to_camera(), valid=valid)
    driver = synthetic.make_frame(image, landmarks, synthetic.head_to_camera(shift_cm=(4.0, 0.0)), valid=valid)
    warped = MeshWarp(source).warp(driver)
    assert (warped[valid] == 90).all()
    assert (warped[~valid] == 0).all()


def test_the_stable_landmarks_are_symmetric_and_hold_the_contours():
    landmark_set = mediapipe_478()
    chosen = set(STABLE_LANDMARKS)
    assert {int(landmark_set.mirror[index]) for index in chosen} == chosen
    for contour in landmark_set.contours.values():
        if max(contour) < 468:
            assert set(contour) <= chosen
    assert len(stable_indices(478)) == len(chosen)
    assert list(stable_indices(68)) == list(range(68))
