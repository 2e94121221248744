from itertools import product

import numpy as np
import pytest
from scipy import ndimage

from mggtalk.perception.segmentation.head_mask import head_mask
from tests.support.faces import INTRINSICS, LANDMARK_SETS, LANDMARKS, SIZE, person, posed_face

POSES = {
    "frontal": {},
    "rolled left": {"roll_deg": 30},
    "rolled right": {"roll_deg": -30},
    "turned": {"yaw_deg": 35},
    "profile": {"yaw_deg": 55},
    "other profile": {"yaw_deg": -75},
    "all": {"yaw_deg": 25, "pitch_deg": -10, "roll_deg": -20},
}


def solve(probability, face):
    return head_mask(np.asarray(probability, np.float32), face.pixels, face.up, face.landmark_set)


def mesh(face):
    return face.surface_depth > 0


@pytest.fixture(params=product(POSES, LANDMARK_SETS), ids=lambda param: f"{param[0]}-{param[1].name}")
def face(request):
    pose, landmarks = request.param
    return posed_face(**POSES[pose], landmarks=landmarks)


def test_all_of_the_face_is_in_even_where_its_outline_folds_over(face):
    """Nose and far cheek of a turned head lie outside the face oval, and no stripe of them is cut."""
    parts = person(face.head_to_camera)
    mask = solve(np.any([*parts.values()], axis=0), face)
    assert mask[ndimage.binary_erosion(mesh(face))].all()
    assert mask[mesh(face)].mean() > 0.99


def test_hair_and_crown_are_in_and_neck_and_shoulders_are_out(face):
    parts = person(face.head_to_camera)
    mask = solve(np.any([*parts.values()], axis=0), face)
    height = rows_below_chin(face)
    crown = parts["head"] & (height < -6)
    assert mask[crown].mean() > 0.99
    throat = (parts["neck"] | parts["shoulders"]) & (height > 0.3)
    assert throat.sum() > 500
    assert not mask[throat].any()


def rows_below_chin(face):
    """Return each pixel's distance below the chin, in cm, along the head's own axis."""
    down = -face.up / np.linalg.norm(face.up)
    columns, rows = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    lowest = (face.pixels @ down).max()
    return (columns * down[0] + rows * down[1] - lowest) * face.depth.mean() / INTRINSICS[0, 0]


def test_a_head_is_in_without_holes_or_stripes(face):
    parts = person(face.head_to_camera)
    mask = solve(np.any([*parts.values()], axis=0), face)
    assert (ndimage.binary_fill_holes(mask) == mask).all()
    above_mouth = parts["head"] & (rows_below_chin(face) < -6)
    assert (ndimage.label(above_mouth & ~mask)[0] == 0).mean() > 0.999


def test_long_hair_beside_the_face_is_in_down_to_the_jaw():
    face = posed_face()
    hair = np.zeros((SIZE, SIZE), bool)
    columns = face.pixels[:, 0]
    hair[40:230, int(columns.max()) : int(columns.max()) + 12] = True
    mask = solve(hair | person(face.head_to_camera)["head"], face)
    ear, chin = face.pixels[454, 1], face.pixels[152, 1]
    assert mask[hair & (np.arange(SIZE)[:, None] < ear + 0.5 * (chin - ear))].all()
    assert not mask[hair & (np.arange(SIZE)[:, None] > chin)].any()


def test_what_does_not_hang_together_with_the_face_is_out():
    face = posed_face()
    other = np.zeros((SIZE, SIZE), bool)
    other[5:40, 5:40] = True
    mask = solve(other | person(face.head_to_camera)["head"], face)
    assert not mask[other].any()


def test_a_face_that_the_segmenter_missed_is_in_by_its_landmarks():
    face = posed_face(yaw_deg=20)
    mask = solve(np.zeros((SIZE, SIZE)), face)
    disagreement = mask ^ mesh(face)
    assert not (disagreement & ndimage.binary_erosion(mesh(face))).any()
    assert not (disagreement & ~ndimage.binary_dilation(mesh(face), iterations=2)).any()


def test_the_mask_turns_with_the_image():
    """The same head, upright and with its crown to the left by a quarter turn of the image."""
    face = posed_face(yaw_deg=15)
    probability = np.any([*person(face.head_to_camera).values()], axis=0)
    upright = solve(probability, face)
    turned_pixels = np.column_stack((face.pixels[:, 1], SIZE - face.pixels[:, 0]))
    turned_up = np.array([face.up[1], -face.up[0]])
    turned = head_mask(np.rot90(probability).astype(np.float32), turned_pixels, turned_up, LANDMARKS)
    assert (turned ^ np.rot90(upright)).mean() < 0.003


def test_a_face_outside_the_image_has_no_mask():
    face = posed_face()
    mask = head_mask(np.ones((SIZE, SIZE), np.float32), face.pixels + 2000, face.up, LANDMARKS)
    assert mask.shape == (SIZE, SIZE)
    assert not mask.any()
