import json
import re
import socket
import sys

import cv2
import numpy as np
import pytest
import torch

from mggtalk.errors import WeightsError
from mggtalk.perception.depth.depth_anything import DepthAnythingGeometry
from mggtalk.perception.depth.head_geometry import HeadViews
from mggtalk.perception.depth.mesh_depth import head_surface
from tests.support.faces import INTRINSICS, LANDMARKS, SIZE, person, posed_face
from tests.support.tiny_networks import DEVIATION, MEAN, save_depth_network


@pytest.fixture(scope="module", params=["relative", "metric"])
def folder(request, tmp_path_factory):
    return save_depth_network(tmp_path_factory.mktemp("depth"), request.param)


def noise(count):
    coarse = np.random.default_rng(5).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return np.stack([cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC) for image in coarse])


def views(count):
    faces = [posed_face(yaw_deg=10 * index - 20) for index in range(count)]
    heads = [person(face.head_to_camera)["head"] | (face.surface_depth > 0) for face in faces]
    return HeadViews(
        noise(count),
        np.stack(heads),
        np.ones((SIZE, SIZE), bool),
        np.stack([LANDMARKS.neutral] * count),
        np.stack([face.head_to_camera for face in faces]),
        INTRINSICS,
    )


def test_a_saved_network_sees_a_batch_as_it_does_images_one_by_one(folder):
    geometry = DepthAnythingGeometry(folder, LANDMARKS, "cpu")
    images = noise(5)
    together = geometry.predict(images)
    assert together.shape == (5, SIZE, SIZE)
    assert together.dtype == torch.float32
    assert together.std() > 0
    alone = torch.cat([geometry.predict(image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 10 * (together - alone).abs().max()


def test_the_prediction_is_that_of_the_library(folder):
    from transformers import DepthAnythingForDepthEstimation

    image = noise(1)
    small = torch.nn.functional.interpolate(
        torch.from_numpy(image).permute(0, 3, 1, 2).float(), (56, 56), mode="bicubic", antialias=True
    ).clamp(0, 255)
    pixels = (small / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(DEVIATION).view(3, 1, 1)
    with torch.inference_mode():
        depth = DepthAnythingForDepthEstimation.from_pretrained(folder)(pixels).predicted_depth
    expected = torch.nn.functional.interpolate(depth[:, None], (SIZE, SIZE), mode="bicubic", antialias=True)[:, 0]
    got = DepthAnythingGeometry(folder, LANDMARKS, "cpu").predict(image)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


class Knowing(DepthAnythingGeometry):
    """Loads like any other, but returns the test's prediction."""

    def __init__(self, folder, answer):
        super().__init__(folder, LANDMARKS, "cpu")
        self.answer = answer

    def predict(self, images):
        return self.answer


def test_relative_networks_give_inverse_depth_and_metric_ones_depth(folder):
    kind = json.loads((folder / "config.json").read_text())["depth_estimation_type"]
    scene = views(3)
    truth = np.stack(
        [
            head_surface(*frame, np.zeros((SIZE, SIZE), bool), LANDMARKS).depth.astype(np.float64)
            for frame in zip(
                scene.landmarks, scene.head_to_camera, [INTRINSICS] * 3, np.ones_like(scene.head), strict=True
            )
        ]
    )
    inverse, plain = torch.from_numpy(900 / truth - 2), torch.from_numpy(0.01 * truth + 1)
    right, wrong = (inverse, plain) if kind == "relative" else (plain, inverse)
    seen = Knowing(folder, right)(scene)
    assert Knowing(folder, right).name == "depth_anything"
    assert not seen.fell_back.any()
    assert np.abs(seen.depth - truth)[scene.head].max() < 0.05
    assert Knowing(folder, wrong)(scene).fell_back.all()  # what grows nearer in one shrinks in the other


def test_from_images_to_depth_and_normals(folder):
    scene = views(3)
    seen = DepthAnythingGeometry(folder, LANDMARKS, "cpu")(scene)
    assert seen.depth.shape == (3, SIZE, SIZE)
    assert seen.normals.shape == (3, SIZE, SIZE, 3)
    assert ((seen.depth > 0) == scene.head).all()


@pytest.mark.gpu
def test_on_a_gpu_in_float16_it_says_nearly_the_same(folder):
    images = noise(9)
    expected = DepthAnythingGeometry(folder, LANDMARKS, "cpu").predict(images)
    got = DepthAnythingGeometry(folder, LANDMARKS, "cuda").predict(images)
    assert got.device.type == "cpu"
    assert (got - expected).abs().max() < 0.05 * expected.std()


def test_loading_and_running_asks_no_network(folder, monkeypatch):
    def refuse(*_):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    DepthAnythingGeometry(folder, LANDMARKS, "cpu").predict(noise(1))


def test_a_folder_without_settings_of_the_processor_is_refused(tmp_path):
    save_depth_network(tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(WeightsError, match=r"preprocessor_config\.json: cannot be read"):
        DepthAnythingGeometry(tmp_path, LANDMARKS, "cpu")


def test_without_the_library_the_error_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(WeightsError, match=re.escape("pip install -c constraints.txt '.[networks]'")):
        DepthAnythingGeometry(folder, LANDMARKS, "cpu")
