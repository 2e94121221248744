"""dlib's encoder itself, if the extra and its weights are installed; nothing here downloads them."""

import importlib.util

import numpy as np
import pytest

from mggtalk.perception.identity import DlibIdentityEncoder, load_identity_encoder
from mggtalk.perception.landmarks.mediapipe_landmarker import FaceLandmarker
from mggtalk.stages.track.identity.clustering import SAME_FILE, SAME_PERSON
from mggtalk.video.decode import open_video
from mggtalk.weights.table import find, require


@pytest.mark.skipif(
    importlib.util.find_spec("dlib") is None or not find("dlib_face_recognition").path.is_file(),
    reason="needs the extra `identity` and its weights: mggtalk models fetch dlib_face_recognition (100 MB)",
)
def test_dlib_tells_a_man_from_a_woman_and_knows_him_again(sample_videos, face_landmarker_path):
    encoder = load_identity_encoder(require("dlib_face_recognition"))
    assert isinstance(encoder, DlibIdentityEncoder)
    embeddings = []
    for name, frame in (("single_face.mp4", 0), ("single_face.mp4", 50), ("WolfgangLanger_Pexels.mp4", 0)):
        (image,) = open_video(str(sample_videos[name])).frames(frame, frame + 1)
        with FaceLandmarker(face_landmarker_path) as landmarker:
            (face,) = landmarker.detect(image, 0)
        embeddings.append(encoder.encode(image, face.landmarks[:, :2]))
        np.testing.assert_array_equal(encoder.encode(image, face.landmarks[:, :2]), embeddings[-1])
    man, again, woman = embeddings
    assert man.shape == (128,)
    assert np.linalg.norm(man - again) < SAME_PERSON
    assert min(np.linalg.norm(man - woman), np.linalg.norm(again - woman)) > SAME_FILE
