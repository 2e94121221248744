import numpy as np
import pytest

from mggtalk.perception.shot_cuts import CutDetector

THRESHOLD = 5.0


def scene(seed, height=90, width=160):
    """An image of large coloured blocks."""
    blocks = np.random.default_rng(seed).integers(30, 226, (6, 8, 3), dtype=np.uint8)
    return np.kron(blocks, np.ones((height // 6, width // 8, 1), np.uint8))


def head(x, seed=1):
    """A scene with a bright head, whose left edge is `x`."""
    image = scene(seed) // 2
    image[20:75, x : x + 40] = (220, 180, 160)
    return image


def cuts(images, threshold=THRESHOLD):
    detector = CutDetector(threshold)
    return [number for number, image in enumerate(images) if detector.begins_shot(image)]


def test_a_cut_begins_a_shot_and_the_first_frame_does_not():
    assert cuts([scene(1), scene(1), scene(2), scene(2), scene(1)]) == [2, 4]


def test_noise_slow_motion_and_a_fade_of_light_are_no_cut():
    random = np.random.default_rng(0)
    moving = [np.roll(scene(3), step, axis=1) for step in range(12)]
    noisy = [np.clip(image + random.normal(0, 6, image.shape), 0, 255).astype(np.uint8) for image in moving]
    darker = [(noisy[-1] * brightness).astype(np.uint8) for brightness in np.linspace(1, 0.6, 20)]
    assert cuts(noisy + darker) == []


def test_a_jump_cut_is_one_though_the_background_stays():
    """The head sits 20 of 160 px further to the right after the cut."""
    assert cuts([head(50 + step % 2) for step in range(20)] + [head(70 + step % 2) for step in range(20)]) == [20]


def test_the_same_jump_is_motion_where_the_head_moves_as_fast_before():
    quick = [50, 50, 55, 65, 80, 100, 80, 60, 40, 60]
    assert cuts([head(x) for x in [50] * 20 + quick]) == []


def test_a_cut_out_of_fast_motion_is_found():
    assert cuts([head(40 + 8 * abs(step % 6 - 3)) for step in range(20)] + [scene(7)] * 5) == [20]


def test_the_threshold_is_what_motion_does_not_explain():
    """Grey images: 4 steps per frame explain 8, so a step of 20 leaves 12; the same for every colour."""
    values = [100, *([104, 100] * 10), 120]
    greys = [np.full((36, 64, 3), value, np.uint8) for value in values]
    assert cuts(greys, threshold=12.0) == [21]
    assert cuts(greys, threshold=12.1) == []


def test_right_after_a_cut_only_large_differences_count():
    """A shot may begin in motion, and its second frame does not yet show how fast."""
    moving = [head(30), head(45), head(60), head(75)]
    assert cuts([scene(5)] * 15 + moving) == [15]
    assert cuts([scene(5)] * 15 + [scene(6)] * 3 + [scene(7)] * 3) == [15, 18]


@pytest.mark.parametrize("size", [(36, 64), (640, 360), (540, 960)])
def test_the_size_of_the_frames_does_not_matter(size):
    height, width = size
    rows, columns = np.arange(height) * 90 // height, np.arange(width) * 160 // width
    images = [head(50 + step % 2) for step in range(14)] + [head(70)] * 3
    assert cuts([image[rows][:, columns] for image in images]) == [14]
