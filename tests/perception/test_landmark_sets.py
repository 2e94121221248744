import struct
import zipfile

import numpy as np
import pytest

from mggtalk.perception.landmark_sets import EYE_DISTANCE_CM, landmark_set, mediapipe_478

LANDMARKS = mediapipe_478()


def test_mirroring_twice_gives_every_landmark_itself():
    assert sorted(LANDMARKS.mirror) == list(range(478))
    assert (LANDMARKS.mirror[LANDMARKS.mirror] == np.arange(478)).all()


def test_the_neutral_shape_is_symmetric_under_its_twins():
    twins = LANDMARKS.neutral[LANDMARKS.mirror] * (-1, 1, 1)
    assert np.abs(twins - LANDMARKS.neutral).max() < 0.02


def test_the_midline_is_its_own_twin():
    for name in ("nose_tip", "nose_base", "chin", "forehead", "upper_lip_inner", "lower_lip_inner"):
        index = LANDMARKS.points[name]
        assert LANDMARKS.mirror[index] == index
        assert abs(LANDMARKS.neutral[index, 0]) < 0.01


def test_right_and_left_are_each_others_twins_and_on_their_sides():
    for right, index in LANDMARKS.points.items():
        if right.startswith("right_"):
            left = LANDMARKS.points[right.replace("right_", "left_")]
            assert LANDMARKS.mirror[index] == left
            assert LANDMARKS.neutral[index, 0] < 0 < LANDMARKS.neutral[left, 0]


def test_the_eye_corners_are_as_far_apart_as_head_space_says():
    right, left = LANDMARKS.neutral[list(LANDMARKS.eye_corners)]
    assert np.linalg.norm(right - left) == pytest.approx(EYE_DISTANCE_CM, abs=0.01)


def test_axes_are_those_of_head_space():
    point = {name: LANDMARKS.neutral[index] for name, index in LANDMARKS.points.items()}
    assert point["forehead"][1] > point["nose_tip"][1] > point["chin"][1]
    assert point["nose_tip"][2] > LANDMARKS.neutral[:, 2].max() - 0.2


def test_triangles_are_a_surface_without_holes_that_faces_outwards():
    triangles = LANDMARKS.triangles
    assert triangles.min() == 0
    assert triangles.max() == 467
    assert all(len(set(triangle)) == 3 for triangle in triangles.tolist())
    edges = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    borders, counts = np.unique(edges, axis=0, return_counts=True)
    assert counts.max() == 2
    # The only border is the oval of the face: eyes and mouth are closed.
    oval = LANDMARKS.contours["face_oval"]
    expected = {tuple(sorted(pair)) for pair in zip(oval, oval[1:] + oval[:1], strict=True)}
    assert {tuple(pair) for pair in borders[counts == 1].tolist()} == expected
    corners = LANDMARKS.neutral[triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((normals * (corners.mean(axis=1) - (0, 0, -6))).sum(-1) > 0).mean() > 0.98


@pytest.mark.parametrize("name", LANDMARKS.contours)
def test_contours_go_once_around_without_crossing(name):
    indices = LANDMARKS.contours[name]
    assert len(set(indices)) == len(indices)
    assert {LANDMARKS.mirror[index] for index in indices} in ({*indices}, {*LANDMARKS.contours[other_side(name)]})
    points = LANDMARKS.neutral[list(indices), :2]
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


def test_sets_are_found_by_the_name_that_tracks_record():
    assert landmark_set(LANDMARKS.name) is LANDMARKS
    with pytest.raises(KeyError, match="ibug_68"):
        landmark_set("ibug_68")


def test_shape_and_triangles_are_those_in_the_landmarker_model(face_landmarker_path):
    """The largest field of its protobuf is the mesh: vertices (x, y, z, u, v) in field 3, triangles in field 4."""
    with zipfile.ZipFile(face_landmarker_path) as bundle:
        metadata = bundle.read("geometry_pipeline_metadata_landmarks.binarypb")
    mesh = max((content for _, content in fields(metadata) if isinstance(content, bytes)), key=len)
    vertices = [struct.unpack("<f", value)[0] for number, value in fields(mesh) if number == 3]
    triangles = [value for number, value in fields(mesh) if number == 4]
    np.testing.assert_allclose(np.reshape(vertices, (468, 5))[:, :3], LANDMARKS.neutral[:468], atol=1e-3)
    np.testing.assert_array_equal(np.reshape(triangles, (-1, 3)), LANDMARKS.triangles)


def fields(message):
    """Number and content of a protobuf message's fields; a varint's content is its value."""
    place = 0
    while place < len(message):
        tag, place = varint(message, place)
        if tag & 7 == 0:
            value, place = varint(message, place)
            yield tag >> 3, value
            continue
        length = 4
        if tag & 7 == 2:
            length, place = varint(message, place)
        yield tag >> 3, message[place : place + length]
        place += length


def varint(message, place):
    value = shift = 0
    while True:
        value |= (message[place] & 127) << shift
        shift += 7
        place += 1
        if message[place - 1] < 128:
            return value, place
