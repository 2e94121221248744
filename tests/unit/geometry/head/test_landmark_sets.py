import numpy as np
import pytest

from mggtalk.errors import StageError
from mggtalk.geometry.head.landmark_sets import EYE_DISTANCE_CM, ibug_68, landmark_set, mediapipe_478

LANDMARKS = mediapipe_478()
SPARSE = ibug_68()


@pytest.fixture(params=[LANDMARKS, SPARSE], ids=lambda landmarks: landmarks.name)
def landmarks(request):
    return request.param


def test_mirroring_twice_gives_every_landmark_itself(landmarks):
    indices = np.arange(len(landmarks.neutral))
    assert sorted(landmarks.mirror) == list(indices)
    assert (landmarks.mirror[landmarks.mirror] == indices).all()


def test_the_neutral_shape_is_symmetric_under_its_twins(landmarks):
    mirrored = landmarks.neutral[landmarks.mirror] * (-1, 1, 1)
    assert np.abs(mirrored - landmarks.neutral).max() < 0.02


def test_the_midline_is_its_own_twin(landmarks):
    midline = {"nose_tip", "nose_base", "chin", "forehead", "upper_lip_inner", "lower_lip_inner"}
    for name in midline & landmarks.points.keys():
        index = landmarks.points[name]
        assert landmarks.mirror[index] == index
        assert abs(landmarks.neutral[index, 0]) < 0.01


def test_right_and_left_are_each_others_twins_and_on_their_sides(landmarks):
    for right, index in landmarks.points.items():
        if right.startswith("right_"):
            left = landmarks.points[right.replace("right_", "left_")]
            assert landmarks.mirror[index] == left
            assert landmarks.neutral[index, 0] < 0 < landmarks.neutral[left, 0]


def test_the_eye_corners_are_as_far_apart_as_head_space_says(landmarks):
    right, left = landmarks.neutral[list(landmarks.eye_corners)]
    assert np.linalg.norm(right - left) == pytest.approx(EYE_DISTANCE_CM, abs=0.01)


def test_axes_are_those_of_head_space(landmarks):
    point = {name: landmarks.neutral[index] for name, index in landmarks.points.items()}
    assert point["right_eye_inner"][1] > point["nose_tip"][1] > point["chin"][1]
    assert point["nose_tip"][2] > landmarks.neutral[:, 2].max() - 0.2


def test_what_two_sets_name_alike_lies_in_the_same_place():
    assert SPARSE.points.keys() < LANDMARKS.points.keys()
    assert SPARSE.contours.keys() == LANDMARKS.contours.keys()
    for name, index in SPARSE.points.items():
        distance = np.linalg.norm(SPARSE.neutral[index] - LANDMARKS.neutral[LANDMARKS.points[name]])
        assert distance < (0.7 if name == "nose_tip" else 1e-9), name  # their nose tips are neighbouring vertices


def test_triangles_are_a_surface_without_holes_that_faces_outwards(landmarks):
    triangles = landmarks.triangles
    assert triangles.min() == 0
    assert triangles.max() == 467
    assert all(len(set(triangle)) == 3 for triangle in triangles.tolist())
    edges = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    borders, counts = np.unique(edges, axis=0, return_counts=True)
    assert counts.max() == 2
    # The only border is the oval of MediaPipe's face: eyes and mouth are closed.
    oval = LANDMARKS.contours["face_oval"]
    expected = {tuple(sorted(pair)) for pair in zip(oval, oval[1:] + oval[:1], strict=True)}
    assert {tuple(pair) for pair in borders[counts == 1].tolist()} == expected
    corners = landmarks.surface(landmarks.neutral)[triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((normals * (corners.mean(axis=1) - (0, 0, -6))).sum(-1) > 0).mean() > 0.98


def test_the_surface_follows_every_affine_map_and_passes_through_the_landmarks(landmarks):
    """So it is the same whether it is made in head space, in the camera's or in a far camera's image."""
    random = np.random.default_rng(0)
    linear, shift = random.normal(size=(3, 2)), random.normal(size=2)
    image = landmarks.surface(landmarks.neutral @ linear + shift)
    np.testing.assert_allclose(image, landmarks.surface(landmarks.neutral) @ linear + shift, atol=1e-9)
    bent = landmarks.neutral + random.normal(scale=0.3, size=landmarks.neutral.shape)
    distance = np.linalg.norm(landmarks.surface(bent)[:, None] - bent, axis=-1).min(axis=0)
    assert distance.max() < 1e-9


def test_the_surface_of_68_points_is_that_of_the_478_they_lie_on():
    """A face of another shape with its mouth open: all of it is seen by 478 points, and the 68 tell the rest."""
    x, y, z = LANDMARKS.neutral.T
    open_mouth = LANDMARKS.neutral * (1.05, 0.97, 1.08) - np.clip((-3 - y) / 5, 0, 1)[:, None] * (0, 1.0, 0.2)
    open_mouth += 0.01 * np.column_stack((x * z, x**2, y**2 / 2))
    nearest = np.linalg.norm(SPARSE.neutral[:, None] - LANDMARKS.neutral, axis=-1).argmin(axis=1)
    error = np.linalg.norm(SPARSE.surface(open_mouth[nearest]) - open_mouth[:468], axis=1)
    assert error.mean() < 0.1
    assert error.max() < 0.8


@pytest.mark.parametrize(
    ("landmarks", "name"), [(chosen, name) for chosen in (LANDMARKS, SPARSE) for name in chosen.contours]
)
def test_contours_go_once_around_without_crossing(landmarks, name):
    indices = landmarks.contours[name]
    assert len(set(indices)) == len(indices)
    assert {landmarks.mirror[index] for index in indices} in ({*indices}, {*landmarks.contours[other_side(name)]})
    points = landmarks.neutral[list(indices), :2]
    around = points - points.mean(axis=0)
    steps = np.diff(np.unwrap(np.arctan2(*np.vstack((around, around[:1])).T)))
    assert abs(steps.sum()) == pytest.approx(2 * np.pi)


def other_side(name):
    if "right" in name:
        return name.replace("right", "left")
    return name.replace("left", "right")


def test_irises_are_left_out_of_rigid_alignment():
    assert not LANDMARKS.alignment_weights[468:].any()
    assert (LANDMARKS.alignment_weights[:468] == 1).all()


def test_what_moves_with_the_mouth_counts_less_in_the_alignment_of_68_points():
    still = SPARSE.alignment_weights[17:48]
    assert (still == 1).all()
    for contour in ("lips_inner", "lips_outer"):
        assert (SPARSE.alignment_weights[list(SPARSE.contours[contour])] < 0.5).all()
    assert 0 < SPARSE.alignment_weights[SPARSE.points["chin"]] < 1
    np.testing.assert_array_equal(SPARSE.alignment_weights[SPARSE.mirror], SPARSE.alignment_weights)


def test_sets_are_found_by_the_name_that_tracks_record(landmarks):
    assert landmark_set(landmarks.name) is landmarks
    with pytest.raises(StageError, match="ibug_49"):
        landmark_set("ibug_49")
