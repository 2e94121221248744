import pytest

from mggtalk.fingerprint import library_versions
from mggtalk.perception.depth.depth_anything import DepthAnythingGeometry
from mggtalk.perception.depth.head_geometry import FaceMeshGeometry
from mggtalk.perception.head_backends import HEAD_GEOMETRIES, HEAD_PARSERS, make_head_geometry, make_head_parser
from mggtalk.perception.segmentation.head_parsing import SegformerParser, SelfieParser
from mggtalk.weights.table import fetch, find
from tests.support.faces import LANDMARKS
from tests.support.tiny_networks import save_depth_network, save_parsing_network


def test_every_backend_names_models_and_libraries_that_there_are():
    for backend in (*HEAD_PARSERS.values(), *HEAD_GEOMETRIES.values()):
        assert [find(name).name for name in backend.models] == list(backend.models)
        assert backend.network in {None, "parsing_model", "depth_model"}
        assert "absent" not in library_versions(*backend.libraries).values()


def test_backends_are_made_by_name_and_say_it(tmp_path):
    paths = {
        "selfie_segmentation": fetch("selfie_segmentation"),
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


def test_an_unknown_backend_or_a_missing_path_is_a_bug():
    for make in (make_head_parser, make_head_geometry):
        with pytest.raises(KeyError, match="crystal_ball"):
            make("crystal_ball", {}, LANDMARKS)
    with pytest.raises(KeyError, match="depth_model"):
        make_head_geometry("depth_anything", {}, LANDMARKS)
