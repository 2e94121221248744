"""The landmark set against the file of the model that finds its points."""

import struct
import zipfile

import numpy as np

from mggtalk.geometry.head.landmark_sets import mediapipe_478

LANDMARKS = mediapipe_478()


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
