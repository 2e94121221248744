import numpy as np
import pytest

from mggtalk.perception.shot_cuts import CutDetector


def scene(seed, height=90, width=160):
    """A picture of large coloured blocks."""
    blocks = np.random.default_rng(seed).integers(30, 226, (6, 8, 3), dtype=np.uint8)
    return np.kron(blocks, np.ones((height // 6, width // 8, 1), np.uint8))


def shots(images, threshold=27.0):
    detector = CutDetector(threshold)
    return [detector.begins_shot(image) for image in images]


def test_a_cut_begins_a_shot_and_the_first_frame_does_not():
    assert shots([scene(1), scene(1), scene(2), scene(2), scene(1)]) == [False, False, True, False, True]


def test_noise_slow_motion_and_a_fade_of_light_are_no_cut():
    random = np.random.default_rng(0)
    moving = [np.roll(scene(3), 2 * step, axis=1) for step in range(12)]
    noisy = [np.clip(image + random.normal(0, 6, image.shape), 0, 255).astype(np.uint8) for image in moving]
    darker = [(noisy[-1] * share).astype(np.uint8) for share in np.linspace(1, 0.6, 10)]
    assert not any(shots(noisy + darker))


def test_the_threshold_is_the_mean_difference_at_which_a_shot_begins():
    """Two greys differ in value alone, by a third of their difference in the mean over hue, saturation and value."""
    grey = [np.full((36, 64, 3), value, np.uint8) for value in (100, 160)]
    assert shots(grey, threshold=20.0) == [False, True]
    assert shots(grey, threshold=20.1) == [False, False]


@pytest.mark.parametrize("size", [(36, 64), (720, 1280)])
def test_the_size_of_the_frames_does_not_matter(size):
    height, width = size
    images = [scene(seed)[: 90 // 6 * 6] for seed in (1, 2)]
    stretched = [np.resize(image, (height, width, 3)) for image in images]
    assert shots(stretched) == [False, True]
