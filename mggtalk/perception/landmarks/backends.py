"""Landmark backends by name: outputs and needs of each, and their factory."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mggtalk.perception.landmarks.protocol import Landmarker


@dataclass(frozen=True, slots=True)
class LandmarkBackend:
    """Outputs and needs of a landmark backend, known before it is made.

    Attributes:
        landmark_set: name of the set of its points. has_expression: whether it gives coefficients of its own.
        models: its model files, by their names in the weights table.
        libraries: distributions that its results depend on.
    """

    landmark_set: str
    has_expression: bool
    models: tuple[str, ...]
    libraries: tuple[str, ...]


LANDMARK_BACKENDS: Mapping[str, LandmarkBackend] = {
    "mediapipe": LandmarkBackend(
        landmark_set="mediapipe_478", has_expression=True, models=("face_landmarker",), libraries=("mediapipe",)
    ),
    "face_alignment": LandmarkBackend(
        landmark_set="ibug_68",
        has_expression=False,
        models=("face_landmarker", "face_alignment_3dfan", "face_alignment_depth"),
        libraries=("mediapipe", "face-alignment", "torch"),
    ),
}


def make_landmarker(name: str, model_paths: Mapping[str, Path]) -> Landmarker:
    """Return a new landmarker of a backend.

    Args:
        name: a key of `LANDMARK_BACKENDS`.
        model_paths: verified path of each of the backend's `models`.

    Raises:
        KeyError: no such backend, or the path of a model is missing.
        WeightsError: the backend's package is not installed, or cannot use the files.
    """
    # MediaPipe, seconds to import, only where faces are found.
    from mggtalk.perception.landmarks.mediapipe_landmarker import FaceLandmarker  # noqa: PLC0415

    finder = FaceLandmarker(model_paths["face_landmarker"])
    if LANDMARK_BACKENDS[name] is LANDMARK_BACKENDS["mediapipe"]:
        return finder
    # PyTorch, seconds to import, only for who asks for it.
    from mggtalk.perception.landmarks.face_alignment_landmarker import FaceAlignmentLandmarker  # noqa: PLC0415

    checkpoints = {model_paths[model].parent for model in ("face_alignment_3dfan", "face_alignment_depth")}
    (folder,) = checkpoints  # where torch.hub looks for both
    return FaceAlignmentLandmarker(finder, folder.parent)
