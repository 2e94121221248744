"""Backends for head masks and head depth: the needs of each, and their factories."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mggtalk.geometry.head.landmark_sets import LandmarkSet
from mggtalk.perception.depth.depth_anything import DepthAnythingGeometry
from mggtalk.perception.depth.head_geometry import FaceMeshGeometry, HeadGeometry
from mggtalk.perception.segmentation.head_parsing import HeadParser, SegformerParser, SelfieParser


@dataclass(frozen=True, slots=True)
class HeadBackend:
    """Needs of a backend, known before it is made.

    Attributes:
        models: its fixed model files, by their names in the weights table.
        network: the parameter of the group `shards` that names its network; None if the user chooses no network.
        model_type: of that network, as in its `config.json`.
        libraries: distributions that its results depend on.
        seconds_per_frame: limit on a slow core, for deadlines: over four times the measured time.
        memory_bytes: additional memory of its process: about twice the measured amount, on a CPU (docs/models.md).
    """

    models: tuple[str, ...] = ()
    network: str | None = None
    model_type: str = ""
    libraries: tuple[str, ...] = ()
    seconds_per_frame: float = 0.0
    memory_bytes: int = 0


HEAD_PARSERS: Mapping[str, HeadBackend] = {
    "selfie": HeadBackend(models=("selfie_segmentation",), libraries=("mediapipe", "opencv-contrib-python")),
    "segformer": HeadBackend(
        network="parsing_model",
        model_type="segformer",
        libraries=("opencv-contrib-python", "torch", "transformers"),
        seconds_per_frame=15.0,
        memory_bytes=4 << 30,
    ),
}
HEAD_GEOMETRIES: Mapping[str, HeadBackend] = {
    "facemesh": HeadBackend(libraries=("opencv-contrib-python", "scipy", "torch")),
    "depth_anything": HeadBackend(
        network="depth_model",
        model_type="depth_anything",
        libraries=("opencv-contrib-python", "scipy", "torch", "transformers"),
        seconds_per_frame=8.0,
        memory_bytes=3 << 30,
    ),
}


def make_head_parser(name: str, model_paths: Mapping[str, Path], landmarks: LandmarkSet) -> HeadParser:
    """Return a new head parser.

    Args:
        name: a key of `HEAD_PARSERS`.
        model_paths: verified path of each of the backend's `models`, or of its `network`.

    Raises:
        KeyError: no such backend, or a path is missing.
        WeightsError: the backend's library is not installed, or cannot use the files.
    """
    match name:
        case "selfie":
            return SelfieParser(model_paths["selfie_segmentation"], landmarks)
        case "segformer":
            return SegformerParser(model_paths["parsing_model"], landmarks)
    raise KeyError(name)


def make_head_geometry(name: str, model_paths: Mapping[str, Path], landmarks: LandmarkSet) -> HeadGeometry:
    """Return a new depth backend.

    Args:
        name: a key of `HEAD_GEOMETRIES`. model_paths: as in `make_head_parser`.

    Raises:
        KeyError, WeightsError: as in `make_head_parser`.
    """
    match name:
        case "facemesh":
            return FaceMeshGeometry(landmarks)
        case "depth_anything":
            return DepthAnythingGeometry(model_paths["depth_model"], landmarks)
    raise KeyError(name)
