import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mggtalk.visualization.point_raster import NOTHING, nearest_points


def slowly(pixels, depth, radius, size):
    nearest = np.full((size, size), NOTHING)
    for row in range(size):
        for column in range(size):
            near = np.hypot(*(np.floor(pixels) - (column, row)).T) <= radius
            if near.any():
                nearest[row, column] = np.argmin(np.where(near, depth, np.inf))
    return nearest


@given(st.integers(0, 2**32 - 1), st.integers(0, 30), st.sampled_from([0.0, 1.0, 1.5, 3.2]))
def test_every_pixel_shows_the_nearest_point_whose_disc_covers_it(seed, num_points, radius):
    random = np.random.default_rng(seed)
    pixels = random.uniform(-4, 16, (num_points, 2))
    depth = random.integers(1, 9, num_points).astype(float)  # few values, so that some are equal
    assert np.array_equal(nearest_points(pixels, depth, radius, 12), slowly(pixels, depth, radius, 12))


def test_no_point_shows_nothing():
    assert (nearest_points(np.zeros((0, 2)), np.zeros(0), 2.0, 5) == NOTHING).all()
