"""Backends of the head's mask and geometry, MediaPipe's among them."""

import cv2
import numpy as np

from mggtalk.perception.depth.depth_anything import DepthAnythingGeometry
from mggtalk.perception.depth.head_geometry import FaceMeshGeometry
from mggtalk.perception.head_backends import HEAD_GEOMETRIES, HEAD_PARSERS, make_head_geometry, make_head_parser
from mggtalk.perception.segmentation.head_mask import head_mask
from mggtalk.perception.segmentation.head_parsing import SegformerParser, SelfieParser
from mggtalk.perception.segmentation.person_segmenter import PersonSegmenter
from tests.support.faces import LANDMARKS, SIZE, posed_face
from tests.support.tiny_networks import save_depth_network, save_parsing_network


def test_backends_are_made_by_name_and_say_it(tmp_path, segmenter_path):
    paths = {
        "selfie_segmentation": segmenter_path,
        "parsing_model": save_parsing_network(tmp_path / "parsing"),
        "depth_model": save_depth_network(tmp_path / "depth"),
    }
    parsers = {name: make_head_parser(name, paths, LANDMARKS) for name in HEAD_PARSERS}
    geometries = {name: make_head_geometry(name, paths, LANDMARKS) for name in HEAD_GEOMETRIES}
    assert {name: type(parser) for name, parser in parsers.items()} == {
        "selfie": SelfieParser,
        "segformer": SegformerParser,
    }
    assert {name: type(geometry) for name, geometry in geometries.items()} == {
        "facemesh": FaceMeshGeometry,
        "depth_anything": DepthAnythingGeometry,
    }
    assert all(parser.name == name for name, parser in parsers.items())
    assert all(geometry.name == name for name, geometry in geometries.items())


def test_the_person_mask_backend_is_the_cut_at_the_jaw_for_each_image(face_image, segmenter_path):
    coarse = np.random.default_rng(5).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    noise = cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    images = np.stack([cv2.resize(face_image, (SIZE, SIZE)), noise])
    faces = [posed_face(), posed_face(yaw_deg=20)]
    parse = SelfieParser(segmenter_path, LANDMARKS)
    masks = parse(images, np.stack([face.pixels for face in faces]), np.stack([face.up for face in faces]))
    assert parse.name == "selfie"
    segmenter = PersonSegmenter(segmenter_path)
    for mask, image, face in zip(masks, images, faces, strict=True):
        np.testing.assert_array_equal(mask, head_mask(segmenter.segment(image), face.pixels, face.up, LANDMARKS))
