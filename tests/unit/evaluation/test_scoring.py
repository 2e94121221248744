from dataclasses import replace

import numpy as np
import pytest

from mggtalk.evaluation.scoring import Scorer
from tests.unit.evaluation import synthetic


@pytest.fixture
def driver():
    """Make a frame whose right third lies outside the video frame; the head reaches into it."""
    valid = np.ones((64, 64), bool)
    valid[:, 40:] = False
    frame = synthetic.SyntheticClips().frames[0]
    assert (frame.head_mask & ~valid).any()
    return replace(frame, valid=valid)


def score(driver, image, source=None):
    scorer = Scorer(synthetic.ColourMeasurer(), synthetic.ColourEncoder())
    truth = scorer.measure(driver.image)
    return scorer.score(scorer.measure(image), truth, truth if source is None else scorer.measure(source), driver)


def test_what_lies_outside_the_video_frame_is_not_scored(driver):
    rendered = np.roll(driver.image, 1, axis=0)
    other = rendered.copy()
    other[~driver.valid] = 255 - other[~driver.valid]
    before, after = score(driver, rendered), score(driver, other)
    assert (before.psnr, before.psnr_head) == (after.psnr, after.psnr_head)
    assert (before.ssim, before.ssim_head) == (after.ssim, after.ssim_head)


def test_the_head_is_scored_apart_from_its_surroundings(driver):
    rendered = driver.image.copy()
    rendered[~driver.head_mask] = 255 - rendered[~driver.head_mask]
    scores = score(driver, rendered)
    assert scores.psnr_head == 100.0
    assert scores.psnr < 20.0
    assert scores.ssim_head > scores.ssim + 0.1  # less than one: windows at the outline reach over it
    assert 0.7 < scores.ssim_head < 1.0


def test_faces_and_identities_are_those_of_result_and_driver(driver):
    lighter = np.clip(driver.image.astype(int) + np.array([8, 5, 3]), 0, 255).astype(np.uint8)
    red, green, blue = (lighter.reshape(-1, 3).mean(axis=0) - driver.image.reshape(-1, 3).mean(axis=0)).tolist()
    scores = score(driver, lighter)
    assert scores.aed == pytest.approx(green / 255, abs=1e-6)
    assert scores.apd == pytest.approx(blue, abs=1e-4)
    assert scores.akd == pytest.approx(np.hypot(red, red), abs=1e-4)  # a quarter pixel a level, at 64 px
    assert 0.9 < scores.csim < 1.0


def test_the_likeness_to_the_source_is_apart_from_that_to_the_driver(driver):
    red = np.zeros_like(driver.image)
    red[..., 0] = 200
    scores = score(driver, driver.image, source=red)
    assert scores.csim == pytest.approx(1.0)
    mean = driver.image.reshape(-1, 3).mean(axis=0)
    assert scores.csim_source == pytest.approx(mean[0] / np.linalg.norm(mean))
