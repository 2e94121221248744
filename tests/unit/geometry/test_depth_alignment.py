import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mggtalk.geometry.depth_alignment import align

SCALES = st.floats(0.01, 100)
SHIFTS = st.floats(-100, 100)


def points(seed, batch=3, num_points=400):
    random = torch.Generator().manual_seed(seed)
    return torch.rand((batch, num_points), generator=random, dtype=torch.float64), random


def everywhere(x):
    return torch.ones_like(x, dtype=torch.bool)


@given(st.integers(0, 2**32 - 1), SCALES, SHIFTS)
def test_any_positive_scale_and_any_shift_are_recovered(seed, scale, shift):
    predicted, _ = points(seed)
    found = align(predicted, scale * predicted + shift, everywhere(predicted))
    assert found.found.all()
    torch.testing.assert_close(found.scale, torch.full((3,), scale, dtype=torch.float64), rtol=1e-6, atol=0)
    torch.testing.assert_close(found.shift, torch.full((3,), shift, dtype=torch.float64), rtol=1e-6, atol=1e-6 * scale)
    assert (found.unexplained < 1e-6).all()


@given(st.integers(0, 2**32 - 1), SCALES, SHIFTS, st.sampled_from(["in front", "anywhere", "in the prediction"]))
def test_a_fifth_of_outliers_moves_scale_and_shift_by_less_than_a_hundredth(seed, scale, shift, kind):
    predicted, random = points(seed)
    anchor = scale * predicted + shift
    wrong = torch.rand(predicted.shape, generator=random) < 0.2
    noise = torch.rand(predicted.shape, generator=random, dtype=torch.float64)
    if kind == "in front":  # a hand: all on one side
        anchor = torch.where(wrong, anchor - scale * (0.5 + noise), anchor)
    elif kind == "anywhere":
        anchor = torch.where(wrong, anchor + 10 * scale * (noise - 0.5), anchor)
    else:
        predicted = torch.where(wrong, 3 * noise - 1, predicted)
    found = align(predicted, anchor, everywhere(predicted))
    assert found.found.all()
    assert ((found.scale / scale - 1).abs() < 0.01).all()
    assert ((found.shift - shift).abs() < 0.01 * scale).all()


def test_without_the_weights_outliers_would_move_it():
    """Shows that the test above can fail: plain least squares is off by far more."""
    predicted, random = points(1)
    wrong = torch.rand(predicted.shape, generator=random) < 0.2
    anchor = torch.where(wrong, predicted - 1, predicted)
    design = torch.stack((predicted[0], torch.ones_like(predicted[0])), dim=1)
    plain = torch.linalg.lstsq(design, anchor[0, :, None]).solution[1, 0]
    assert plain.abs() > 0.1
    assert align(predicted, anchor, everywhere(predicted)).shift[0].abs() < 0.01


def test_noise_is_averaged():
    predicted, random = points(2, num_points=4000)
    anchor = 5 * predicted + 60 + 0.3 * torch.randn(predicted.shape, generator=random, dtype=torch.float64)
    found = align(predicted, anchor, everywhere(predicted))
    torch.testing.assert_close(found.scale, torch.full((3,), 5.0, dtype=torch.float64), rtol=0.02, atol=0)
    deviation = 5 / 4  # of a uniform distribution of this width, the median one
    expected = torch.full((3,), 0.3 * 0.6745 / deviation, dtype=torch.float64)
    torch.testing.assert_close(found.unexplained, expected, rtol=0.1, atol=0)


def test_the_weights_refine_what_the_start_leaves_of_noise_and_outliers_together():
    """A hand over the nearer half of a noisy face; the start alone is off by 0.3."""
    predicted, random = points(7, batch=20, num_points=4000)
    anchor = 5 * predicted + 60 + 0.3 * torch.randn(predicted.shape, generator=random, dtype=torch.float64)
    hand = (torch.rand(predicted.shape, generator=random) < 0.2) & (predicted > 0.5)
    found = align(predicted, torch.where(hand, anchor - 3, anchor), everywhere(predicted))
    assert (found.scale - 5).abs().max() < 0.2


def test_what_knows_nothing_of_the_anchor_explains_nothing():
    predicted, random = points(6, batch=20, num_points=4000)
    anchor = torch.rand(predicted.shape, generator=random, dtype=torch.float64)
    assert (align(predicted, anchor, everywhere(predicted)).unexplained > 0.95).all()


def test_only_known_points_count_and_rows_do_not_see_each_other():
    predicted, _ = points(3)
    known = predicted > torch.tensor([[0.0], [0.3], [0.5]])
    anchor = torch.where(known, torch.tensor([[1.0], [2], [3]]) * predicted + 7, -1e3)
    anchor[0, 0] = torch.nan
    together = align(predicted, anchor, known)
    torch.testing.assert_close(together.scale, torch.tensor([1.0, 2, 3], dtype=torch.float64))
    torch.testing.assert_close(together.shift, torch.full((3,), 7.0, dtype=torch.float64))
    for row in range(3):
        alone = align(predicted[row, None], anchor[row, None], known[row, None])
        torch.testing.assert_close(alone.scale[0], together.scale[row], rtol=1e-9, atol=0)


@pytest.mark.parametrize("case", ["falls", "flat", "few", "none", "nan"])
def test_what_has_no_positive_scale_or_too_few_points_is_not_found(case):
    predicted, _ = points(4)
    anchor, known = 2 * predicted + 1, everywhere(predicted)
    if case == "falls":
        anchor = 1 - predicted
    elif case == "flat":
        predicted = torch.full_like(predicted, 0.3)
    elif case == "few":
        known[:, 20:] = False
    elif case == "none":
        known[:] = False
    else:
        predicted = torch.full_like(predicted, torch.nan)
    assert not align(predicted, anchor, known).found.any()
