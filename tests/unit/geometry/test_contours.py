import cv2
import numpy as np
import pytest
import torch

from mggtalk.geometry.contours import inside_contour


def test_inside_a_contour_is_what_it_goes_around():
    square = torch.tensor([[1.0, 1.0], [4.0, 1.0], [4.0, 3.0], [1.0, 3.0]])
    notched = torch.tensor([[0.0, 0.0], [5.0, 0.0], [5.0, 5.0], [2.5, 1.0], [0.0, 5.0]])
    inside = inside_contour(torch.stack((square, square.flip(0))), 5, 5)
    expected = torch.zeros(5, 5, dtype=torch.bool)
    expected[1:3, 1:4] = True
    assert torch.equal(inside, expected.expand(2, 5, 5))
    around = inside_contour(notched[None], 5, 5)[0]
    assert around[3].tolist() == [True, False, False, False, True]
    assert around[0].all()


def test_what_a_contour_goes_around_twice_is_outside():
    twice = torch.tensor([[1.0, 1.0], [5.0, 1.0], [5.0, 5.0], [1.0, 5.0]]).repeat(2, 1)
    assert not inside_contour(twice[None], 6, 6).any()


@pytest.mark.parametrize("seed", range(5))
def test_contours_that_leave_the_image_are_cut_off(seed):
    """Star-shaped around the middle, so that they do not fold; OpenCV is the judge."""
    generator = np.random.default_rng(seed)
    angles = np.sort(generator.uniform(0, 2 * np.pi, 9))
    radii = generator.uniform(3, 30, 9)
    contour = np.stack((10 + radii * np.cos(angles), 8 + radii * np.sin(angles)), axis=1).astype(np.float32)
    inside = inside_contour(torch.from_numpy(contour)[None], 16, 20)[0]
    for row, column in np.ndindex(16, 20):
        away = cv2.pointPolygonTest(contour, (column + 0.5, row + 0.5), measureDist=True)
        assert inside[row, column] == (away > 0) or abs(away) < 1e-3


def test_corners_without_a_place_harm_no_other_contour():
    square = torch.tensor([[1.0, 1.0], [4.0, 1.0], [4.0, 3.0], [1.0, 3.0]])
    nowhere = torch.tensor([[float("nan"), 1.0], [4.0, float("inf")], [float("-inf"), 3.0], [1.0, float("nan")]])
    inside = inside_contour(torch.stack((nowhere, square)), 5, 5)
    assert inside[1].sum() == 6
