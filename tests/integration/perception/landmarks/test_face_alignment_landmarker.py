"""Runs the library's own loading and decoding at full size, on weights whose result is known."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from mggtalk.errors import WeightsError
from mggtalk.geometry.head.landmark_sets import ibug_68
from mggtalk.geometry.head.procrustes import align
from mggtalk.perception.landmarks.backends import LANDMARK_BACKENDS, make_landmarker
from mggtalk.perception.landmarks.face_alignment_landmarker import FaceAlignmentLandmarker, weight_files
from mggtalk.perception.landmarks.protocol import FaceDetection
from tests.support.fan_weights import NUM_POINTS, write_spot_weights

BOX = (200, 80, 370, 270)
RED, GREEN = (262.3, 131.8), (318.9, 203.1)
GRAIN_PX = 3.0  # half a cell of the heat map


class Finder:
    """Finds faces in the given boxes."""

    landmark_set = "corners"
    expression_names: tuple[str, ...] = ()

    def __init__(self, *boxes):
        self.faces = [
            FaceDetection(np.array([(*box[:2], 0.0), (*box[2:], 0.0)]), np.zeros(3, np.float32)) for box in boxes
        ]
        self.closed = False

    def forget(self):
        """There is nothing to forget."""

    def detect(self, image, step_ms=40):
        return self.faces

    def close(self):
        self.closed = True


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread, because on a busy machine the networks' threads mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Path:
    folder: Path = tmp_path_factory.mktemp("hub")
    write_spot_weights(folder)
    return folder


def image_of_spots():
    columns, rows = np.meshgrid(np.arange(640) + 0.5, np.arange(360) + 0.5)
    image = np.zeros((360, 640, 3))
    for channel, (x, y) in enumerate((RED, GREEN)):
        image[..., channel] = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 128)
    return image.astype(np.uint8)


def test_points_are_where_the_networks_see_them(hub):
    """Through the files of weights, the crop, the heat maps and back: in pixels of the image, nearer is smaller."""
    hub_before = torch.hub.get_dir()
    (face,) = FaceAlignmentLandmarker(Finder(BOX), hub).detect(image_of_spots())
    assert face.landmarks.shape == (NUM_POINTS, 3)
    assert face.landmarks.dtype == np.float64
    assert np.abs(face.landmarks[: NUM_POINTS // 2, :2] - RED).max() < GRAIN_PX
    assert np.abs(face.landmarks[NUM_POINTS // 2 :, :2] - GREEN).max() < GRAIN_PX
    crop_px = 200 / 195 * (BOX[2] - BOX[0] + BOX[3] - BOX[1])
    np.testing.assert_allclose(face.landmarks[:, 2], -np.arange(NUM_POINTS) * crop_px / 256, rtol=1e-5, atol=1e-4)
    assert face.expression.shape == (0,)
    # What had to be switched for the library's sake is back as it was.
    assert torch.hub.get_dir() == hub_before
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


def test_the_backend_by_name_lands_in_the_face_that_mediapipe_finds(hub, face_landmarker_path, face_image):
    alignment, depth = (hub / "checkpoints" / name for name in weight_files())
    backend = LANDMARK_BACKENDS["face_alignment"]
    paths = dict(zip(backend.models, (face_landmarker_path, alignment, depth), strict=True))
    landmarker = make_landmarker("face_alignment", paths)
    assert landmarker.landmark_set == backend.landmark_set == ibug_68().name
    (face,) = landmarker.detect(face_image)
    (box,) = (found.box for found in make_landmarker("mediapipe", paths).detect(face_image))
    assert face.landmarks.shape == (len(ibug_68().neutral), 3)
    assert np.isfinite(face.landmarks).all()
    middle, reach = (box[:2] + box[2:]) / 2, 1.2 * (box[2:] - box[:2]).max()
    assert (np.abs(face.landmarks[:, :2] - middle) < reach).all()
    brightness = face_image[..., 0].astype(float)
    column, row = face.landmarks[0, :2].astype(int)
    assert brightness[row - 3 : row + 4, column - 3 : column + 4].mean() > np.percentile(brightness, 95)


def test_no_face_gives_no_points_and_one_outside_the_image_neither(hub):
    image = np.zeros((360, 640, 3), np.uint8)
    assert FaceAlignmentLandmarker(Finder(), hub).detect(image) == []
    assert FaceAlignmentLandmarker(Finder((-90, 10, -5, 80), (10, 400, 80, 500)), hub).detect(image) == []


def test_the_finder_is_closed_with_the_landmarker(hub):
    finder = Finder()
    with FaceAlignmentLandmarker(finder, hub):
        assert not finder.closed
    assert finder.closed


@pytest.mark.parametrize("missing", [0, 1])
def test_missing_weights_are_named_and_not_downloaded(hub, tmp_path, missing):
    (tmp_path / "checkpoints").mkdir()
    names = weight_files()
    there = tmp_path / "checkpoints" / names[1 - missing]
    there.symlink_to(hub / "checkpoints" / there.name)
    with pytest.raises(WeightsError, match=f"missing: no file .*checkpoints/{names[missing]}"):
        FaceAlignmentLandmarker(Finder(), tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == [there.name]


class Hostile:
    """Runs a command where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_in_a_file_of_weights_is_run(hub, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    alignment, depth = weight_files()
    (tmp_path / "checkpoints" / alignment).symlink_to(hub / "checkpoints" / alignment)
    torch.save({"state_dict": Hostile(tmp_path / "owned")}, tmp_path / "checkpoints" / depth)
    with pytest.raises(WeightsError, match=f"{depth} in .* is not what it should be"):
        FaceAlignmentLandmarker(Finder(), tmp_path)
    assert not (tmp_path / "owned").exists()


def test_a_cut_off_file_is_refused(hub, tmp_path):
    shutil.copytree(hub, tmp_path / "hub", symlinks=True)
    with (tmp_path / "hub" / "checkpoints" / weight_files()[0]).open("r+b") as file:
        file.truncate(1_000_000)
    with pytest.raises(WeightsError, match="is not what it should be"):
        FaceAlignmentLandmarker(Finder(), tmp_path / "hub")


def test_without_the_package_it_is_said_how_to_get_it(hub, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "face_alignment", None)
    with pytest.raises(WeightsError, match="pip install --no-deps face-alignment"):
        FaceAlignmentLandmarker(Finder(), tmp_path)


def test_the_landmark_set_is_the_one_that_the_trained_networks_give():
    """Compare to the points of the released weights for an image of the library's test; nearer is larger."""
    points = np.array(FAN_POINTS) * (1, 1, -1)
    landmarks = ibug_68()
    shape = align(landmarks.neutral, points[None], landmarks.alignment_weights).inverse_apply(points[None])[0]
    distance = np.linalg.norm(shape - landmarks.neutral, axis=1)
    assert distance[17:].mean() < 0.6
    assert distance[17:].max() < 1.2
    # The jaw line of the released networks lies farther back, towards the ears, than MediaPipe's oval.
    assert distance[:17].max() < 2.5
    mirrored = shape[landmarks.mirror] * (-1, 1, 1)
    assert np.linalg.norm(mirrored - shape, axis=1).max() / 2 < 0.6


# Source: face-alignment, test/facealignment_test.py (BSD-3-Clause), rounded to whole numbers.
FAN_POINTS = [
    *((137, 240, -86), (140, 264, -81), (143, 288, -76), (146, 306, -69), (152, 327, -54), (161, 342, -30)),
    *((170, 348, -3), (185, 354, 24), (212, 360, 39), (239, 357, 32), (263, 354, 12), (284, 348, -10)),
    *((302, 333, -29), (314, 315, -42), (320, 297, -47), (326, 276, -50), (335, 252, -54), (152, 207, -8)),
    *((164, 201, 6), (176, 198, 17), (188, 198, 25), (200, 201, 29), (245, 204, 38), (257, 201, 37)),
    *((269, 201, 34), (284, 204, 28), (299, 216, 18), (221, 225, 38), (218, 237, 48), (215, 249, 61)),
    *((215, 261, 63), (203, 273, 40), (209, 276, 45), (218, 276, 49), (227, 276, 48), (233, 276, 45)),
    *((170, 228, 7), (179, 222, 17), (188, 222, 20), (200, 228, 19), (191, 231, 21), (179, 231, 16)),
    *((248, 231, 29), (257, 225, 33), (269, 225, 34), (278, 231, 27), (269, 234, 33), (257, 234, 33)),
    *((185, 306, 30), (194, 297, 43), (209, 291, 51), (215, 291, 53), (221, 291, 53), (236, 300, 48)),
    *((248, 309, 38), (236, 312, 48), (224, 315, 53), (212, 315, 52), (203, 315, 50), (194, 309, 43)),
    *((188, 303, 31), (206, 300, 47), (215, 300, 50), (224, 300, 49), (248, 309, 38), (224, 303, 50)),
    *((215, 303, 50), (206, 303, 47)),
]
