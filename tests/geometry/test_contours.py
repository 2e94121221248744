import torch

from mggtalk.geometry.cameras import pixel_centers
from mggtalk.geometry.contours import inside_contour


def test_inside_a_contour_is_what_it_goes_around():
    square = torch.tensor([[1.0, 1.0], [4.0, 1.0], [4.0, 3.0], [1.0, 3.0]])
    notched = torch.tensor([[0.0, 0.0], [5.0, 0.0], [5.0, 5.0], [2.5, 1.0], [0.0, 5.0]])
    centers = pixel_centers(5, 5)
    inside = inside_contour(torch.stack((square, square.flip(0))), centers)
    expected = torch.zeros(5, 5, dtype=torch.bool)
    expected[1:3, 1:4] = True
    assert torch.equal(inside, expected.expand(2, 5, 5))
    around = inside_contour(notched[None], centers)[0]
    assert around[3].tolist() == [True, False, False, False, True]
    assert around[0].all()
