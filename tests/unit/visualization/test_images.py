import cv2
import numpy as np

from mggtalk.records import HeadCloud
from mggtalk.visualization import images
from tests.unit.evaluation import synthetic


def brightness(color):
    return float(np.asarray(color, float).sum())


def test_near_is_brighter_than_far_and_unknown_is_grey():
    depth = np.tile(np.linspace(50.0, 60.0, 32, dtype=np.float32), (32, 1))
    depth[:4] = 0.0
    image = images.draw_depth(depth)
    assert brightness(image[20, 1]) > brightness(image[20, 16]) > brightness(image[20, 30])
    assert (image[:4] == images.UNKNOWN_COLOR).all()


def test_a_depth_map_without_any_depth_is_grey():
    assert (images.draw_depth(np.zeros((4, 4), np.float32)) == images.UNKNOWN_COLOR).all()


def test_the_cloud_shows_mirrored_points_in_their_own_colour_on_their_own_side():
    image = images.draw_cloud(synthetic.small_cloud(), 60)
    assert image.shape == (60, 180, 4)
    front = image[:, :60]
    drawn = front[..., 3] > 0
    orange = drawn & (front[..., 0] > front[..., 2])
    blue = drawn & (front[..., 2] > front[..., 0])
    # The person's left, +x, is on the right of an image from the front.
    assert np.nonzero(orange)[1].min() > 30
    assert np.nonzero(blue)[1].max() < 30


def test_the_nearest_point_wins_the_pixel_and_the_side_view_sees_the_other():
    positions = np.array([[0.0, 0, 5], [0, 0, -5]], np.float32)
    toward_viewer = np.array([[0.0, 0, 1], [0, 0, 1]], np.float32)
    cloud = HeadCloud(positions, toward_viewer, np.zeros((2, 2), np.int16), np.array([-1, 0], np.int32))
    image = images.draw_cloud(cloud, 60)
    centre, side = image[30, 30], image[:, 120:]
    assert tuple(centre[:3]) == images.VISIBLE_COLOR
    columns = np.nonzero(side[..., 3])[1]
    assert columns.max() - columns.min() > 40


def test_an_empty_cloud_gives_an_empty_image():
    empty = HeadCloud(
        np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32), np.zeros((0, 2), np.int16), np.zeros(0, np.int32)
    )
    assert not images.draw_cloud(empty, 20).any()


def test_png_keeps_colours_and_transparency():
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 4), dtype=np.uint8)
    for channels, order in ((3, [2, 1, 0]), (4, [2, 1, 0, 3])):
        data = images.encode_png(np.ascontiguousarray(image[..., :channels]))
        decoded = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))
        assert np.array_equal(decoded[..., order], image[..., :channels])


def test_panels_are_tiled_in_rows_of_two():
    panels = {name: np.full((4, 4, 3), value, np.uint8) for name, value in (("a", 10), ("b", 20), ("c", 30), ("d", 40))}
    tiled = images.tile(panels, ("a", "b", "c", "d"), 8)
    assert tiled.shape == (16, 16, 3)
    assert [int(tiled[row, column, 0]) for row in (3, 12) for column in (3, 12)] == [10, 20, 30, 40]


def test_jpeg_keeps_colours_nearly():
    image = np.zeros((16, 16, 3), np.uint8)
    image[:8] = images.MIRRORED_COLOR
    decoded = np.asarray(cv2.imdecode(np.frombuffer(images.encode_jpeg(image), np.uint8), cv2.IMREAD_COLOR_RGB))
    assert np.abs(decoded.astype(int) - image).max() < 12
