import pytest

from mggtalk.fingerprint import library_versions
from mggtalk.perception.head_backends import HEAD_GEOMETRIES, HEAD_PARSERS, make_head_geometry, make_head_parser
from mggtalk.weights.table import find
from tests.support.faces import LANDMARKS


def test_every_backend_names_models_and_libraries_that_there_are():
    for backend in (*HEAD_PARSERS.values(), *HEAD_GEOMETRIES.values()):
        assert [find(name).name for name in backend.models] == list(backend.models)
        assert backend.network in {None, "parsing_model", "depth_model"}
        assert "absent" not in library_versions(*backend.libraries).values()


def test_an_unknown_backend_or_a_missing_path_is_a_bug():
    for make in (make_head_parser, make_head_geometry):
        with pytest.raises(KeyError, match="crystal_ball"):
            make("crystal_ball", {}, LANDMARKS)
    with pytest.raises(KeyError, match="depth_model"):
        make_head_geometry("depth_anything", {}, LANDMARKS)
