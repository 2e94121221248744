import logging
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage

from mggtalk.geometry.normals import normals_from_depth
from mggtalk.perception.depth.head_geometry import FaceMeshGeometry, HeadViews
from mggtalk.perception.depth.mesh_depth import HEAD_CENTER, HEAD_RADII, head_surface, mean_head_depth
from mggtalk.perception.depth.network_depth import _face_depth, aligned_depth
from tests.support.faces import INTRINSICS, LANDMARK_SETS, LANDMARKS, SIZE, posed_face, project, solid

NOTHING_CUT = np.zeros((SIZE, SIZE), bool)


def scene(face):
    """Return the depth that a camera sees, of a head of the same pose and a wall two metres behind, and the mask."""
    head = solid(face.head_to_camera, HEAD_CENTER, HEAD_RADII) | (face.surface_depth > 0)
    surface = head_surface(
        face.landmark_set.neutral, face.head_to_camera, INTRINSICS, head, NOTHING_CUT, face.landmark_set
    )
    return np.where(head, surface.depth.astype(np.float64), 260.0), head


def views_of(faces, heads):
    return HeadViews(
        np.zeros((len(faces), SIZE, SIZE, 3), np.uint8),
        np.stack(heads),
        ~NOTHING_CUT,
        np.stack([face.landmark_set.neutral for face in faces]),
        np.stack([face.head_to_camera for face in faces]),
        INTRINSICS,
    )


def predict(depth, inverse):
    """Return a perfect network's prediction in its own unit: inverse depth from 0 to 10, or scaled, shifted depth."""
    return 2500 / depth - 3 if inverse else 0.013 * depth + 0.4


@pytest.fixture(params=LANDMARK_SETS, ids=lambda landmarks: landmarks.name)
def landmarks(request):
    return request.param


@pytest.mark.parametrize("inverse", [True, False], ids=["inverse depth", "depth"])
def test_a_prediction_that_is_right_up_to_scale_and_shift_becomes_the_depth_of_the_head(inverse, landmarks):
    faces = [
        posed_face(yaw_deg=yaw, distance_cm=far, landmarks=landmarks) for yaw, far in ((0, 63), (30, 70), (-20, 55))
    ]
    scenes, heads = zip(*map(scene, faces), strict=True)
    predicted = torch.from_numpy(np.stack([predict(depth, inverse) for depth in scenes]))
    seen = aligned_depth(predicted, inverse=inverse, views=views_of(faces, heads), landmarks=landmarks)
    assert seen.depth.dtype == seen.normals.dtype == np.float32
    assert not seen.fell_back.any()
    for depth, expected, head in zip(seen.depth, scenes, heads, strict=True):
        assert np.abs(depth - expected)[head].max() < 0.05
        assert not depth[~head].any()


def test_a_hand_before_the_face_does_not_move_the_rest():
    face = posed_face(yaw_deg=10)
    depth, head = scene(face)
    with_hand = depth.copy()
    column = int(np.median(face.pixels[:, 0]))
    row = int(face.pixels[:, 1].max()) - 45
    with_hand[row:, column - 40 : column + 40] -= 6.0
    covered = (with_hand < depth) & (face.surface_depth > 0)
    assert covered.sum() > 0.15 * (face.surface_depth > 0).sum()
    predicted = torch.from_numpy(predict(with_hand, inverse=True))[None]
    seen = aligned_depth(predicted, inverse=True, views=views_of([face], [head]), landmarks=LANDMARKS)
    free = head & ~ndimage.binary_dilation(with_hand < depth, iterations=5)
    assert np.abs(seen.depth[0] - depth)[free].max() < 0.1


def test_what_the_mask_leaves_out_does_not_count_however_large():
    """A scarf over more than half of the face that the head parser knows as cloth."""
    face = posed_face()
    depth, head = scene(face)
    covered = np.zeros_like(head)
    covered[int(np.median(face.pixels[:, 1])) - 12 :] = True
    assert (covered & (face.surface_depth > 0)).sum() > 0.55 * (face.surface_depth > 0).sum()
    with_scarf = predict(np.where(covered, 52.0, depth), inverse=True)
    views = views_of([face], [head & ~covered])
    seen = aligned_depth(torch.from_numpy(with_scarf)[None], inverse=True, views=views, landmarks=LANDMARKS)
    assert not seen.fell_back.any()
    assert np.abs(seen.depth[0] - depth)[head & ~covered].max() < 0.3


def test_faces_are_aligned_where_they_face_the_camera():
    """Leave out surface turned away by more than 70 degrees; the rest is the mesh."""
    face = posed_face(yaw_deg=50)
    points = project(LANDMARKS.surface(LANDMARKS.neutral), face.head_to_camera)
    camera = np.linalg.inv(INTRINSICS) @ np.vstack((points[:, :2].T, np.ones(len(points)))) * points[:, 2]
    _, head = scene(face)
    anchor = _face_depth(camera.T, views_of([face], [head]), LANDMARKS)
    normals = _normals(np.where(face.surface_depth > 0, face.surface_depth, 0))
    inner = ndimage.binary_erosion(face.surface_depth > 0, iterations=3)
    assert (anchor > 0)[inner & (normals[..., 2] < -0.5)].mean() > 0.98
    assert (anchor > 0).sum() < 0.98 * (face.surface_depth > 0).sum()
    both = (anchor > 0) & inner
    assert (np.abs(anchor - face.surface_depth)[both] < 1e-6).mean() > 0.98


def test_no_points_hang_in_the_air_behind_an_outline_that_the_network_blurs():
    face = posed_face(yaw_deg=10)
    depth, head = scene(face)
    blurred = cv2.GaussianBlur(predict(depth, inverse=True), (0, 0), 1)
    seen = aligned_depth(
        torch.from_numpy(blurred)[None], inverse=True, views=views_of([face], [head]), landmarks=LANDMARKS
    )
    error = (seen.depth[0] - depth)[head]
    assert (2500 / (blurred + 3) - depth)[head].max() > 15  # what the network says
    assert error.max() < 6
    assert np.median(np.abs(error)) < 0.1


@pytest.mark.parametrize("inverse", [True, False], ids=["inverse depth", "depth"])
def test_what_cannot_be_a_part_of_this_head_gets_the_mean_head_s_depth(inverse):
    face = posed_face()
    depth, head = scene(face)
    wrong = depth.copy()
    wrong[20:60, 100:130] = 150.0  # the wall shines through the hair
    wrong[60:70, 100:130] = 20.0
    predicted = predict(wrong, inverse)
    if inverse:
        predicted[70:80, 100:130] = -20.0  # behind infinity
    wrong_at = head & (predicted != predict(depth, inverse))
    assert wrong_at.sum() > 500
    seen = aligned_depth(
        torch.from_numpy(predicted)[None], inverse=inverse, views=views_of([face], [head]), landmarks=LANDMARKS
    )
    expected = mean_head_depth(face.head_to_camera, INTRINSICS, head, NOTHING_CUT)
    np.testing.assert_allclose(seen.depth[0][wrong_at], expected[wrong_at], rtol=1e-6)
    assert np.abs(seen.depth[0] - depth)[head & ~wrong_at].max() < 0.05


@pytest.mark.parametrize("case", ["falls", "flat", "noise", "other noise", "nan"])
def test_a_frame_that_cannot_be_aligned_gets_the_depth_of_its_mesh_and_says_so(case, caplog):
    face = posed_face(yaw_deg=15)
    depth, head = scene(face)
    noise = np.random.default_rng(0).normal(size=depth.shape)
    bad = {
        "falls": -depth,
        "flat": np.ones_like(depth),
        "noise": noise,
        "other noise": -noise,  # one of the two has a positive slope
        "nan": np.full_like(depth, np.nan),
    }[case]
    views = views_of([face] * 2, [head] * 2)
    with caplog.at_level(logging.WARNING):
        seen = aligned_depth(
            torch.from_numpy(np.stack([bad, 0.01 * depth])), inverse=False, views=views, landmarks=LANDMARKS
        )
    assert seen.fell_back.tolist() == [True, False]
    assert "1 of 2 frames cannot be aligned" in caplog.text
    mesh = FaceMeshGeometry(LANDMARKS)(views)
    np.testing.assert_array_equal(seen.depth[0], mesh.depth[0])
    np.testing.assert_array_equal(seen.normals[0], mesh.normals[0])
    assert np.abs(seen.depth[1] - depth)[head].max() < 0.05


def test_a_face_outside_the_image_falls_back_too():
    face = posed_face()
    _, head = scene(face)
    away = np.array([[0, 0, 900.0], [0, 0, 0], [0, 0, 0]])
    views = replace(views_of([face], [head]), intrinsics=INTRINSICS + away)
    seen = aligned_depth(torch.rand(1, SIZE, SIZE), inverse=True, views=views, landmarks=LANDMARKS)
    assert seen.fell_back.all()
    assert (seen.depth[0][head] > 0).all()


def test_normals_do_not_show_the_grain_of_a_prediction_and_edges_stay():
    """Steps and noise of a third of a millimetre, as float16 leaves them."""
    face = posed_face()
    depth, head = scene(face)
    random = np.random.default_rng(0)
    grainy = np.where(head, depth + random.uniform(-0.03, 0.03, depth.shape), depth)
    seen = aligned_depth(
        torch.from_numpy(predict(grainy, False))[None],
        inverse=False,
        views=views_of([face], [head]),
        landmarks=LANDMARKS,
    )
    truth, plain = (_normals(np.where(head, image, 0)) for image in (depth, grainy))
    inner = ndimage.binary_erosion(head, iterations=5)
    assert _median_angle_deg(plain, truth, inner) > 2 * _median_angle_deg(seen.normals[0], truth, inner)
    assert (np.linalg.norm(seen.normals[0], axis=-1)[head] > 0.99).mean() > 0.99
    assert not seen.normals[0][~head].any()


def _normals(depth):
    normals, _ = normals_from_depth(torch.from_numpy(depth).float()[None], torch.from_numpy(INTRINSICS).float()[None])
    return normals[0].numpy()


def _median_angle_deg(first, second, where):
    return np.degrees(np.median(np.arccos(np.clip((first * second).sum(-1), -1, 1))[where]))
