import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from mggtalk.evaluation import metrics
from mggtalk.perception.landmarks.face_measurement import FaceMeasurement
from mggtalk.shards.protocol import PSNR_CAP_DB


def images(seed=0, size=32):
    generator = np.random.default_rng(seed)
    target = generator.integers(0, 256, (size, size, 3), dtype=np.uint8)
    noise = generator.integers(-20, 21, target.shape)
    return np.clip(target + noise, 0, 255).astype(np.uint8), target


def ssim(prediction, target, counted):
    return metrics.mean_over(metrics.ssim_map(prediction, target, counted), counted)


def face(landmarks=0.0, expression=0.0, rotation=(0.0, 0.0, 0.0)):
    return FaceMeasurement(
        np.full((478, 2), landmarks, np.float32), np.full(52, expression, np.float32), np.array(rotation, np.float32)
    )


def test_psnr_is_that_of_a_known_error():
    target = np.full((8, 8, 3), 100, np.uint8)
    assert metrics.psnr(target + 10, target, np.ones((8, 8), bool)) == pytest.approx(10 * math.log10(255**2 / 100))


def test_psnr_does_not_wrap_around_in_uint8():
    black, white = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    assert metrics.psnr(black, white, np.ones((4, 4), bool)) == pytest.approx(0.0)


def test_psnr_of_equal_images_is_the_cap():
    _, target = images()
    assert metrics.psnr(target, target, np.ones((32, 32), bool)) == PSNR_CAP_DB


def test_psnr_counts_only_the_mask():
    target = np.full((8, 8, 3), 100, np.uint8)
    prediction = target.copy()
    prediction[:, :4] += 10
    left = np.zeros((8, 8), bool)
    left[:, :4] = True
    assert metrics.psnr(prediction, target, left) == pytest.approx(10 * math.log10(255**2 / 100))
    assert metrics.psnr(prediction, target, ~left) == PSNR_CAP_DB
    assert metrics.psnr(prediction, target, np.ones((8, 8), bool)) == pytest.approx(10 * math.log10(255**2 / 50))


def test_ssim_follows_the_formula_of_wang_et_al():
    prediction, target = images(size=40)
    x, y = prediction.astype(float), target.astype(float)

    def mean(image):  # radius 5: the window of 11
        return np.stack(
            [gaussian_filter(image[..., c], 1.5, truncate=5 / 1.5, mode="mirror") for c in range(3)], axis=-1
        )

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_x, mean_y = mean(x), mean(y)
    covariance = mean(x * y) - mean_x * mean_y
    variances = mean(x * x) - mean_x**2 + mean(y * y) - mean_y**2
    expected = (2 * mean_x * mean_y + c1) * (2 * covariance + c2) / ((mean_x**2 + mean_y**2 + c1) * (variances + c2))
    assert 0.5 < expected.mean() < 0.999
    assert ssim(prediction, target, np.ones((40, 40), bool)) == pytest.approx(expected.mean(), abs=1e-5)


def test_ssim_counts_only_the_mask():
    prediction, target = images()
    left = np.zeros((32, 32), bool)
    left[:, :16] = True
    prediction[left] = target[left]
    assert ssim(prediction, target, left) == pytest.approx(1.0)
    # Were the equal half counted too, the value would lie half-way to one.
    right_alone = ssim(prediction[:, 16:].copy(), target[:, 16:].copy(), np.ones((32, 16), bool))
    assert right_alone < 0.99
    assert 1.0 - ssim(prediction, target, ~left) > 0.8 * (1.0 - right_alone)


def test_ssim_of_equal_images_is_one():
    _, target = images()
    assert ssim(target, target, np.ones((32, 32), bool)) == pytest.approx(1.0)


@pytest.mark.parametrize("metric", [metrics.psnr, ssim])
@pytest.mark.parametrize("which", ["prediction", "target"])
def test_an_invalid_pixel_changes_nothing(metric, which):
    prediction, target = images()
    valid = np.ones((32, 32), bool)
    valid[:, 20:] = False
    before = metric(prediction, target, valid)
    changed = prediction if which == "prediction" else target
    changed[5, 20] = 255 - changed[5, 20]
    assert metric(prediction, target, valid) == before
    changed[5, 19] = 255 - changed[5, 19]
    assert metric(prediction, target, valid) != before


@pytest.mark.parametrize("metric", [metrics.psnr, ssim])
def test_no_counted_pixel_is_not_a_number(metric):
    prediction, target = images()
    assert math.isnan(metric(prediction, target, np.zeros((32, 32), bool)))


def test_cosine_of_known_angles():
    assert metrics.cosine(np.array([2.0, 0.0]), np.array([0.0, 3.0])) == pytest.approx(0.0)
    assert metrics.cosine(np.array([1.0, 0.0]), np.array([1.0, 1.0])) == pytest.approx(math.sqrt(0.5))
    assert metrics.cosine(np.array([1.0, 2.0]), np.array([-2.0, -4.0])) == pytest.approx(-1.0)


def test_expression_distance_is_the_mean_absolute_difference():
    driver = face()
    result = face()
    result.expression[0] = 0.52
    result.expression[1] = -0.52
    assert metrics.expression_distance(result, driver) == pytest.approx(2 * 0.52 / 52)


def test_pose_distance_goes_the_short_way_round():
    assert metrics.pose_distance(face(rotation=(3, -6, 0)), face()) == pytest.approx(3.0)
    assert metrics.pose_distance(face(rotation=(179, 0, 0)), face(rotation=(-178, 0, 0))) == pytest.approx(1.0)


def test_landmark_distance_is_in_pixels_at_256():
    result = face()
    result.landmarks_px[:] = [3.0, 4.0]
    assert metrics.landmark_distance(result, face(), size=128) == pytest.approx(10.0)
    assert metrics.landmark_distance(result, face(), size=512) == pytest.approx(2.5)
