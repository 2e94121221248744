import pytest

from mggtalk.geometry.head.landmark_sets import landmark_set
from mggtalk.perception.landmarks.backends import LANDMARK_BACKENDS, make_landmarker
from mggtalk.perception.landmarks.mediapipe_landmarker import FaceLandmarker
from mggtalk.weights.table import find


@pytest.mark.parametrize("name", LANDMARK_BACKENDS)
def test_every_backend_names_a_set_and_models_that_there_are(name):
    backend = LANDMARK_BACKENDS[name]
    assert landmark_set(backend.landmark_set).name == backend.landmark_set
    assert backend.models
    for model in backend.models:
        assert find(model).name == model


def test_the_files_of_the_second_backend_lie_where_torch_hub_looks_for_them():
    for name in ("face_alignment_3dfan", "face_alignment_depth"):
        path = find(name).path
        assert path.parent.name == "checkpoints"
        assert find(name).digest() in path.name


def test_mediapipe_is_made_by_name(face_landmarker_path, face_image):
    landmarker = make_landmarker("mediapipe", {"face_landmarker": face_landmarker_path})
    assert isinstance(landmarker, FaceLandmarker)
    (face,) = landmarker.detect(face_image)
    assert face.landmarks.shape == landmark_set(landmarker.landmark_set).neutral.shape
    assert LANDMARK_BACKENDS["mediapipe"].has_expression == (len(landmarker.expression_names) > 0)


def test_an_unknown_backend_is_refused(face_landmarker_path):
    with pytest.raises(KeyError, match="openface"):
        make_landmarker("openface", {"face_landmarker": face_landmarker_path})
