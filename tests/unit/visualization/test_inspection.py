import re
from dataclasses import replace

import cv2
import numpy as np
import pytest

from mggtalk.errors import ShardError
from mggtalk.geometry.head.head_pose import rotation_angles
from mggtalk.geometry.head.landmark_sets import ibug_68, mediapipe_478
from mggtalk.records import HeadCloud
from mggtalk.visualization import head_panels, panels
from mggtalk.visualization.figure import Scale, Swatch
from mggtalk.visualization.images import MIRRORED_COLOR, VISIBLE_COLOR
from mggtalk.visualization.inspection import _backends, draw_inspection, widest_turned
from tests.support.synthetic_head import DISTANCE_CM, make_head, make_talking_clip, source_frame, write_talking_shards

SIZE = 96
CLIP = "0123456789abcdef-f000000"
YAW_DEG = 35.0  # towards the person's left: the right side is visible, the left is not


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    clip = make_talking_clip(CLIP, size=SIZE, max_yaw_deg=YAW_DEG, num_frames=4, geometry_stride=1)
    return write_talking_shards(tmp_path_factory.mktemp("shards"), [clip])


@pytest.fixture(scope="module")
def turned(shards):
    """Source frame and cloud of the head turned to its left."""
    angles = rotation_angles(shards.tracks(CLIP).head_to_camera[:, :3, :3])
    frame = int(angles[:, 0].argmax())
    assert angles[frame, 0] > 25
    return shards.source_frame(CLIP, frame), shards.cloud(CLIP, frame)


def text_of(panel):
    return " ".join(
        part.text if isinstance(part, Swatch) else f"{part.low} {part.high}" if isinstance(part, Scale) else part
        for part in panel.caption
    )


def percent_in(panel):
    (number,) = re.findall(r"([\d.]+)%", text_of(panel))
    return float(number)


def fraction_in(image, color):
    """Fraction of the drawn pixels in a hue, however bright."""
    drawn = (image != panels.NEUTRAL).any(axis=-1)
    hue = image / np.maximum(image.sum(axis=-1, keepdims=True), 1)
    return (np.abs(hue - np.array(color) / sum(color)).max(axis=-1) < 0.06)[drawn].mean()


def test_the_image_is_the_same_size_for_every_frame_and_shows_the_frame(shards):
    first, second = (draw_inspection(shards, CLIP, frame, panel_size=SIZE) for frame in (0, 1))
    assert first.shape == second.shape
    assert first.shape[1] == 4 * SIZE + 3 * 18 + 2 * 28
    assert first.shape[0] > 3 * SIZE
    assert not np.array_equal(first, second)
    assert np.array_equal(first, draw_inspection(shards, CLIP, 0, panel_size=SIZE))
    large = draw_inspection(shards, CLIP, 0)
    assert large.shape == (1387, 1550, 3)


def test_mirrored_points_are_orange_on_the_mirrored_side_and_the_visible_side_is_blue(turned):
    _, cloud = turned
    from_left = head_panels.view_panel(cloud, 60.0, "from the person's left", SIZE)
    from_right = head_panels.view_panel(cloud, -60.0, "from the person's right", SIZE)
    assert fraction_in(from_left.image, MIRRORED_COLOR) > 0.3
    assert fraction_in(from_right.image, MIRRORED_COLOR) < 0.05
    assert fraction_in(from_right.image, VISIBLE_COLOR) > 0.8
    num_mirrored = int((cloud.mirrored_of >= 0).sum())
    assert (
        text_of(from_right).replace(" ", "") == f"{len(cloud.mirrored_of) - num_mirrored}visible{num_mirrored}mirrored"
    )


def test_the_last_row_has_the_persons_right_before_the_left(shards, turned):
    frame = widest_turned(shards, CLIP)
    assert np.array_equal(shards.cloud(CLIP, frame).positions, turned[1].positions)
    figure = draw_inspection(shards, CLIP, frame, panel_size=SIZE)
    upper = figure.shape[0] - 28 - 2 * 22 - SIZE
    views = [figure[upper : upper + SIZE, left : left + SIZE] for left in 28 + (SIZE + 18) * np.arange(4)]
    source, front, right, left = (fraction_in(view, MIRRORED_COLOR) for view in views)
    assert source < right + 0.05
    assert right < front < left


def test_a_view_is_filled_by_the_head_and_not_shrunk_by_a_stray_point(turned):
    cloud = turned[1]
    far = cloud.positions.copy()
    far[0] = 300.0
    for positions in (cloud.positions, far):
        image = head_panels.view_panel(replace(cloud, positions=positions), 0.0, "front", SIZE).image
        rows = np.nonzero((image != panels.NEUTRAL).any(axis=(1, 2)))[0]
        assert rows.max() - rows.min() > 0.8 * SIZE


def test_a_view_from_the_front_shows_the_persons_left_on_the_right():
    positions = np.array([[-5.0, 0, 0], [5, 0, 0]], np.float32)
    cloud = HeadCloud(positions, np.array([[0.0, 0, 1]] * 2, np.float32), np.zeros((2, 2), np.int16), np.array([-1, 0]))
    image = head_panels.view_panel(cloud, 0.0, "front", SIZE).image.astype(int)
    reddish = image[..., 0] - image[..., 2]
    assert np.nonzero(reddish > 50)[1].min() > SIZE / 2
    assert np.nonzero(reddish < -50)[1].max() < SIZE / 2


def test_a_right_cloud_covers_nothing_in_the_source_and_points_before_the_face_show(turned):
    source, cloud = turned
    right = head_panels.source_view_panel(source.frame, cloud, SIZE)
    assert percent_in(right) < 8  # at the rim, where a mirrored disc is coarse
    num_visible = int((cloud.mirrored_of < 0).sum())
    positions, normals, pixels = (
        values[:num_visible] for values in (cloud.positions, cloud.normals, cloud.source_pixel)
    )
    nearer = positions - 2.0 * source.frame.head_to_camera[2, :3]  # the camera's axis, seen from the head
    wrong = HeadCloud(
        np.concatenate((positions, nearer)),
        np.concatenate((normals, normals)),
        np.concatenate((pixels, pixels)),
        np.concatenate((cloud.mirrored_of[:num_visible], np.arange(num_visible, dtype=np.int32))),
    )
    panel = head_panels.source_view_panel(source.frame, wrong, SIZE)
    assert percent_in(panel) > 95
    assert fraction_in(panel.image, MIRRORED_COLOR) > 0.9 > fraction_in(right.image, MIRRORED_COLOR) + 0.7


def test_the_covered_fraction_counts_pixels_of_visible_points_with_a_mirrored_one_before_them():
    twin = np.array([-1, -1, 0], np.int32)
    cloud = HeadCloud(np.zeros((3, 3)), np.zeros((3, 3)), np.zeros((3, 2), np.int16), twin)
    nearest, visible = np.array([[0, 2], [2, -1]]), np.array([[0, 1], [-1, -1]])
    assert head_panels.covered_fraction(nearest, visible, cloud) == 0.5
    assert head_panels.covered_fraction(nearest, np.full((2, 2), -1), cloud) == 0.0


def test_an_empty_cloud_is_an_empty_image(turned):
    empty = HeadCloud(
        np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32), np.zeros((0, 2), np.int16), np.zeros(0, np.int32)
    )
    for panel in (
        head_panels.view_panel(empty, 0.0, "front", SIZE),
        head_panels.source_view_panel(turned[0].frame, empty, SIZE),
    ):
        assert (panel.image == panels.NEUTRAL).all()


@pytest.mark.parametrize("landmarks", [mediapipe_478(), ibug_68()], ids=lambda landmarks: landmarks.name)
def test_a_symmetric_face_has_no_residual_and_one_beside_the_plane_has_its_distance(turned, landmarks):
    frame = replace(turned[0].frame, landmarks=landmarks.neutral.astype(np.float32))
    colors = head_panels._residual_colors()
    symmetric = head_panels.residual_panel(frame, landmarks, SIZE)
    assert text_of(symmetric).endswith("median 0.00 mm")
    assert (symmetric.image <= colors[1] + 1).all(axis=-1).mean() > 0.1
    beside = replace(frame, landmarks=frame.landmarks + np.array([0.4, 0, 0], np.float32))
    bent = head_panels.residual_panel(beside, landmarks, SIZE)
    assert text_of(bent).endswith("median 4.00 mm")
    assert not (bent.image <= colors[1] + 1).all(axis=-1).any()
    assert (bent.image == colors[-1]).all(axis=-1).mean() > 0.1


def test_the_residual_is_half_the_way_to_the_mirrored_landmark():
    landmarks = mediapipe_478()
    tip, eye = landmarks.points["nose_tip"], landmarks.points["left_eye_outer"]
    positions = landmarks.neutral.copy()
    positions[eye, 1] += 0.6
    residual = head_panels.mirror_residual(positions, landmarks)
    assert residual[eye] == pytest.approx([0, 3, 0], abs=1e-6)
    assert residual[landmarks.mirror[eye]] == pytest.approx([0, -3, 0], abs=1e-6)
    assert residual[tip] == pytest.approx([0, 0, 0], abs=1e-6)


def test_what_lies_outside_the_video_is_hatched_and_the_rest_is_the_image(turned):
    frame = turned[0].frame
    valid = frame.valid.copy()
    valid[:, :30] = False
    panel = panels.crop_panel(replace(frame, valid=valid), SIZE)
    assert np.array_equal(panel.image[:, 30:], frame.image[:, 30:])
    assert np.ptp(panel.image[:, :30].astype(int), axis=(0, 1)).max() < 40
    assert "outside the video frame, 31%" in text_of(panel)
    assert "outside" not in text_of(panels.crop_panel(frame, SIZE))


def test_landmarks_are_in_the_colours_of_their_sides():
    frame = source_frame(make_head(), SIZE).frame
    image = panels.landmarks_panel(frame, mediapipe_478(), 400).image
    drawn = {name: (image == getattr(panels, name)).all(axis=-1) for name in ("LEFT_COLOR", "RIGHT_COLOR")}
    # The head looks at the camera: the person's left is on the right.
    assert np.nonzero(drawn["LEFT_COLOR"])[1].min() > 200 > np.nonzero(drawn["RIGHT_COLOR"])[1].max()
    for index in (mediapipe_478().points["left_eye_outer"], mediapipe_478().points["right_eye_outer"]):
        column, row = (frame.landmarks_px[index] * 400 / SIZE).astype(int)
        assert (drawn["LEFT_COLOR"] | drawn["RIGHT_COLOR"])[row - 2 : row + 3, column - 2 : column + 3].any()


def test_the_head_mask_keeps_its_colours_and_the_rest_is_grey(turned):
    frame = turned[0].frame
    image = panels.mask_panel(frame, SIZE).image
    inner = cv2.erode(frame.head_mask.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert inner.sum() > 500
    assert np.array_equal(image[inner], frame.image[inner])
    drawn = (image == panels._OUTLINE).all(axis=-1)
    rows, columns = np.nonzero(frame.head_mask)
    assert drawn.sum() > np.ptp(rows) + np.ptp(columns)
    assert not drawn[inner].any()
    corner = image[:10, :10].astype(int)
    assert np.ptp(corner, axis=-1).max() == 0


def test_the_background_has_no_head(turned):
    source = turned[0]
    panel = panels.background_panel(source, SIZE)
    row, column = (int(index.mean()) for index in np.nonzero(source.frame.head_mask))
    wall, skin = source.frame.image[5, 5].astype(int), source.frame.image[row, column].astype(int)
    filled = panel.image[row, column].astype(int)
    assert np.abs(filled - wall).sum() < np.abs(filled - skin).sum()
    assert 100 * source.frame.head_mask.mean() < percent_in(panel) < 150 * source.frame.head_mask.mean()


def test_depth_is_bright_where_near_and_says_its_range_in_centimetres():
    source = source_frame(make_head(), SIZE)
    panel = panels.depth_panel(source, SIZE)
    low, high = (float(number) for number in re.findall(r"[\d.]+", text_of(panel))[:2])
    assert DISTANCE_CM - 14 < low < high < DISTANCE_CM + 6
    nearest = np.unravel_index(np.where(source.depth > 0, source.depth, np.inf).argmin(), source.depth.shape)
    farthest = np.unravel_index(source.depth.argmax(), source.depth.shape)
    assert panel.image[nearest].sum() > panel.image[farthest].sum() + 100
    assert tuple(panel.image[0, 0]) == panels.NEUTRAL


def test_normals_are_red_to_the_right_green_up_and_blue_to_the_viewer():
    source = source_frame(make_head(), SIZE)
    image = panels.normals_panel(source, SIZE).image.astype(int)
    rows, columns = np.nonzero(source.depth)
    middle = (rows.min() + rows.max()) // 2, (columns.min() + columns.max()) // 2
    assert image[middle][2] > 235
    assert image[middle[0], columns.max() - 3, 0] > image[middle[0], columns.min() + 3, 0] + 140
    assert image[rows.min() + 3, middle[1], 1] > image[rows.max() - 3, middle[1], 1] + 140
    assert tuple(image[0, 0]) == panels.NEUTRAL


def test_the_relief_is_bright_at_the_upper_left():
    source = source_frame(make_head(), SIZE)
    image = panels.relief_panel(source, SIZE).image.astype(int)
    rows, columns = np.nonzero(source.depth)
    (top, bottom), (left, right) = (np.quantile(indices, (0.3, 0.7)).astype(int) for indices in (rows, columns))
    assert image[top, left, 0] > image[bottom, right, 0] + 80


def test_a_head_without_geometry_gives_neutral_panels(turned):
    source = replace(turned[0], depth=np.zeros_like(turned[0].depth), normals=np.zeros_like(turned[0].normals))
    for draw in (panels.depth_panel, panels.normals_panel, panels.relief_panel):
        assert (draw(source, SIZE).image == panels.NEUTRAL).all()


def test_the_frame_that_is_turned_farthest_is_chosen(shards, tmp_path):
    angles = rotation_angles(shards.tracks(CLIP).head_to_camera[:, :3, :3])[:, 0]
    assert widest_turned(shards, CLIP) == int(np.abs(angles).argmax())
    sparse = write_talking_shards(tmp_path, [make_talking_clip(CLIP, size=16, num_frames=4, geometry_stride=3)])
    assert widest_turned(sparse, CLIP) in (0, 3)
    bare = replace(make_talking_clip(CLIP, size=16, num_frames=2), sources={})
    with pytest.raises(ShardError, match="no frame of the clip has geometry"):
        widest_turned(write_talking_shards(tmp_path / "bare", [bare]), CLIP)


def test_backends_are_named_and_hashes_are_not():
    perception = {"geometry": "facemesh", "models": {"a": "64184e"}, "voxel_size_cm": 0.4}
    assert _backends(perception) == ["geometry facemesh", "voxel_size_cm 0.4"]


@pytest.mark.parametrize("count", [1, 2, 10])
@pytest.mark.timeout(30)
def test_a_cloud_of_a_few_points_is_drawn_as_dots(count):
    positions = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    cloud = HeadCloud(positions, positions, np.zeros((count, 2), np.int16), np.full(count, -1, np.int32))
    panel = head_panels.view_panel(cloud, 0.0, "front", 120)
    drawn = (panel.image != panels.NEUTRAL).any(axis=-1)
    assert 0 < drawn.mean() < 0.05 * count
