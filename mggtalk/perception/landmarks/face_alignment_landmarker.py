"""Landmarks of the faces in a video by the package face-alignment: FAN in three dimensions, 68 points, no coefficients.

Another landmarker finds the faces, so only two of the library's networks are needed: 3D-FAN and the one that adds
depth. Their files must lie where torch.hub looks for them. Nothing is downloaded here, and only weights are read from
the files, although the library itself would unpickle any object in the depth file.

Positions come from heat maps of 64 x 64, so they are quantised: steps of about 1/120 of the face's crop, 3 pixels for a
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
# A training checkpoint may also hold a score as a NumPy number, whose constructor has its name from NumPy 1.
_SCORE: Any = np.float64(0).__reduce__()[0]
_HARMLESS = [(_SCORE, "numpy.core.multiarray.scalar"), _SCORE, np.dtype, type(np.dtype(np.float64))]


class FaceAlignmentLandmarker:
    """Detects the 68 points in the faces that another landmarker finds; see `Landmarker`.

    Args:
        finder: finds the faces; the boxes of its landmarks are used. It is closed with this landmarker.
        hub: folder of torch.hub, whose `checkpoints` has the two model files under the library's names.
        device: `cpu` or `cuda`.

    Raises:
        WeightsError: the package is not installed, or a file is missing or does not hold these networks' weights.
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
        """Forget the positions of the faces."""
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
    """Convert the library's points to those of `FaceDetection`: flip depth, which grows towards the camera.

    The points are whole pixels, rounded down after a rounded crop. No half pixel is added, because with pixel centres
    at +0.5 the mean error, measured on spots of light in place of landmarks, is under 0.3 pixels.
    """
    return np.asarray(points, np.float64) * (1.0, 1.0, -1.0)


@lru_cache(maxsize=1)  # the networks keep no state of a video, and take seconds to load
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
            # The detector `folder` needs no network, and is never used, because the boxes are passed in.
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
    """Return the file names under which the installed library looks for its weights: 3D-FAN and depth."""
    from face_alignment.api import models_urls  # noqa: PLC0415 - an optional extra

    return models_urls["3DFAN-4"].rsplit("/", 1)[1], models_urls["depth"].rsplit("/", 1)[1]


@contextmanager
def _hub_folder(hub: Path) -> Iterator[None]:
    """Make torch.hub look for files in `hub`."""
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(hub))
    try:
        yield
    finally:
        torch.hub.set_dir(before)


@contextmanager
def _weights_only() -> Iterator[None]:
    """Make torch.load read nothing but weights, even if its caller asks for more, through PyTorch's switch for this."""
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
