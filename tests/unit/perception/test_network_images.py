import json

import numpy as np
import pytest
import torch
from PIL import Image

from mggtalk.errors import WeightsError
from mggtalk.perception.network_images import Preprocessing

SETTINGS = {
    "size": {"height": 518, "width": 518},
    "resample": 3,
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.25, 0.5],
    "rescale_factor": 1 / 255,
}


def read(tmp_path, **settings):
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps({**SETTINGS, **settings}))
    return Preprocessing.read(path)


def random_image(height, width):
    coarse = np.random.default_rng(0).integers(64, 192, (height // 8, width // 8, 3), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("resample", [2, 3])
@pytest.mark.parametrize(("size", "new_size"), [(256, 518), (512, 70)])
def test_an_image_becomes_what_pillow_and_the_usual_arithmetic_make_of_it(tmp_path, resample, size, new_size):
    prepare = read(tmp_path, resample=resample, size={"height": new_size, "width": new_size})
    image = random_image(size, size)
    resized = np.array(Image.fromarray(image).resize((new_size, new_size), Image.Resampling(resample)))
    expected = (resized / 255 - [0.5, 0.4, 0.3]) / [0.2, 0.25, 0.5]
    got = prepare(torch.from_numpy(image)[None])[0].permute(1, 2, 0)
    assert got.dtype == torch.float32
    assert (
        np.abs(got.numpy() - expected).max() < 1.2 / 255 / 0.2
    )  # Pillow rounds between the two directions, and in the end


def test_nothing_is_blacker_than_black_or_whiter_than_white(tmp_path):
    """Bicubic kernels overshoot at edges; Pillow's bytes cannot."""
    image = np.zeros((1, 64, 64, 3), np.uint8)
    image[:, :, 30:] = 255
    got = read(tmp_path, image_mean=[0, 0, 0], image_std=[1, 1, 1])(torch.from_numpy(image))
    assert got.min() == 0
    assert got.max() == pytest.approx(1)


@pytest.mark.parametrize(
    ("settings", "before", "after"),
    [
        ({"keep_aspect_ratio": True, "ensure_multiple_of": 14}, (512, 512), (518, 518)),
        ({"keep_aspect_ratio": True, "ensure_multiple_of": 14}, (240, 480), (252, 518)),  # 18.5 x 14, rounded to even
        ({"keep_aspect_ratio": False, "ensure_multiple_of": 14}, (240, 480), (518, 518)),
        ({"size": {"height": 500, "width": 500}, "ensure_multiple_of": 14}, (256, 256), (504, 504)),
        ({"size": 64}, (256, 256), (64, 64)),
    ],
)
def test_sizes_are_those_of_the_library(tmp_path, settings, before, after):
    images = torch.zeros((2, *before, 3), dtype=torch.uint8)
    assert read(tmp_path, **settings)(images).shape == (2, 3, *after)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"do_center_crop": True}, "do_center_crop is not supported"),
        ({"resample": 0}, "KeyError 0"),
        ({"size": {"shortest_edge": 512}}, "KeyError 'height'"),
        ({"image_mean": [0.5]}, "ValueError"),
        ({"image_std": None}, "TypeError"),
        ({"image_std": [1.0, 0.0, 1.0]}, "image_std: expected positive"),
        ({"size": 0}, "size: expected at least 1"),
        ({"do_normalize": False}, "do_normalize: expected true"),
    ],
)
def test_what_is_not_done_here_is_refused(tmp_path, settings, message):
    with pytest.raises(WeightsError, match=rf"preprocessor_config\.json: .*{message}"):
        read(tmp_path, **settings)


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_missing_or_damaged_file_is_refused(tmp_path, content):
    path = tmp_path / "preprocessor_config.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(WeightsError, match=r"preprocessor_config\.json: "):
        Preprocessing.read(path)
