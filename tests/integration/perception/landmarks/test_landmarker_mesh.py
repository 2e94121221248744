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
    offset = 0
    while offset < len(message):
        tag, offset = varint(message, offset)
        if tag & 7 == 0:
            value, offset = varint(message, offset)
            yield tag >> 3, value
            continue
        length = 4
        if tag & 7 == 2:
            length, offset = varint(message, offset)
        yield tag >> 3, message[offset : offset + length]
        offset += length


def varint(message, offset):
    value = shift = 0
    while True:
        value |= (message[offset] & 127) << shift
        shift += 7
        offset += 1
        if message[offset - 1] < 128:
            return value, offset
