"""Landmarks of the faces in a video by the package face-alignment: FAN in three dimensions, 68 points, no coefficients.

Another landmarker says where the faces are, so of the library's networks only two are needed: 3D-FAN and the one that
adds depth. Their files have to lie where torch.hub looks for them; nothing is ever downloaded here, and nothing but
weights is read from them, though the library itself would unpickle whatever the depth file holds.

Positions come from heat maps of 64 x 64 and keep their grain: steps of about 1/120 of the face's crop, 3 pixels for a
face of 190.

Source: Bulat and Tzimiropoulos, How far are we from solving the 2D & 3D Face Alignment problem?, ICCV 2017.
"""

import importlib.util
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from jaxtyping import Float64, UInt8

from mggtalk.errors import WeightsError
from mggtalk.perception.landmarks.protocol import FaceDetection, Landmarker

if TYPE_CHECKING:
    from face_alignment import FaceAlignment

_FORCE_WEIGHTS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
# A training checkpoint may hold a score too, as a NumPy number, under the name that NumPy 1 gave the function.
_SCORE: Any = np.float64(0).__reduce__()[0]
_HARMLESS = [(_SCORE, "numpy.core.multiarray.scalar"), _SCORE, np.dtype, type(np.dtype(np.float64))]


class FaceAlignmentLandmarker:
    """Puts the 68 points into the faces that another landmarker finds; see `Landmarker`.

    Args:
        finder: says where the faces are, by the box of its landmarks; it is closed with this landmarker.
        hub: folder of torch.hub, whose `checkpoints` holds the two files of weights under the library's names.
        device: `cpu` or `cuda`.

    Raises:
        WeightsError: the package is not installed, a file is missing, or it is no file of these networks' weights.
    """

    landmark_set = "ibug_68"
    expression_names: tuple[str, ...] = ()

    def __init__(self, finder: Landmarker, hub: Path, device: str = "cpu") -> None:
        self._finder = finder
        self._network = _load_network(hub, device)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def forget(self) -> None:
        """Forget where the faces were."""
        self._finder.forget()

    def close(self) -> None:
        """Close the landmarker that finds the faces."""
        self._finder.close()

    def detect(self, image: UInt8[np.ndarray, "height width 3"], step_ms: int = 40) -> list[FaceDetection]:
        """Return the faces of `image` (RGB), `step_ms` after the image before."""
        height, width = image.shape[:2]
        boxes = [face.box for face in self._finder.detect(image, step_ms)]
        boxes = [box for box in boxes if (box[2:] > 0).all() and (box[:2] < (width, height)).all()]
        if not boxes:
            return []
        found = self._network.get_landmarks_from_image(np.ascontiguousarray(image), detected_faces=boxes)
        return [FaceDetection(_in_image(points), np.zeros(0, np.float32)) for points in found]


def _in_image(points: np.ndarray) -> Float64[np.ndarray, "68 3"]:
    """Return the library's points as `FaceDetection` has them: their depth grows towards the camera.

    Whole pixels, rounded down after a crop that is rounded too: where a spot of light is sought in place of a landmark,
    the mean error is under 0.3 pixels when pixel centres are taken to lie at +0.5, so nothing is added.
    """
    return np.asarray(points, np.float64) * (1.0, 1.0, -1.0)


@lru_cache(maxsize=1)  # the networks remember nothing of a video, and take seconds to load
def _load_network(hub: Path, device: str) -> "FaceAlignment":
    if importlib.util.find_spec("face_alignment") is None:
        raise WeightsError(
            "landmarks face_alignment: the package face-alignment is not installed; "
            "run `pip install 'mggtalk[face-alignment]'` and `pip install --no-deps face-alignment==1.5.0`"
        )
    import face_alignment  # noqa: PLC0415 - an optional extra

    files = [hub / "checkpoints" / name for name in weight_files()]
    for path in files:
        if not path.is_file():
            raise WeightsError(f"landmarks face_alignment: the weights are missing: no file {path}")
    try:
        with _hub_folder(hub), _weights_only():
            # The detector `folder` is one without a network; it is never asked, for boxes are handed in.
            return face_alignment.FaceAlignment(
                face_alignment.LandmarksType.THREE_D,
                device=device,
                face_detector="folder",
                flip_input=False,
                compile=False,
            )
    except (pickle.UnpicklingError, KeyError, RuntimeError, EOFError) as cause:
        names = " or ".join(path.name for path in files)
        raise WeightsError(f"landmarks face_alignment: {names} in {hub} is not what it should be: {cause}") from cause


def weight_files() -> tuple[str, str]:
    """Return the names under which the installed library looks for its weights: 3D-FAN and depth."""
    from face_alignment.api import models_urls  # noqa: PLC0415 - an optional extra

    return models_urls["3DFAN-4"].rsplit("/", 1)[1], models_urls["depth"].rsplit("/", 1)[1]


@contextmanager
def _hub_folder(hub: Path) -> Iterator[None]:
    """Let torch.hub look for files in `hub`."""
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(hub))
    try:
        yield
    finally:
        torch.hub.set_dir(before)


@contextmanager
def _weights_only() -> Iterator[None]:
    """Let torch.load read nothing but weights, whatever its caller asks for: PyTorch's switch for such callers."""
    before = os.environ.get(_FORCE_WEIGHTS_ONLY)
    os.environ[_FORCE_WEIGHTS_ONLY] = "1"
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            yield
    finally:
        if before is None:
            del os.environ[_FORCE_WEIGHTS_ONLY]
        else:
            os.environ[_FORCE_WEIGHTS_ONLY] = before
