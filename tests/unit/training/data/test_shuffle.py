from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mggtalk.training.data.shuffle import hashed, permuted

keys = st.lists(st.integers(0, 2**70), max_size=4)


@given(size=st.integers(1, 300), key=keys)
def test_every_index_occurs_once(size, key):
    assert sorted(permuted(position, size, *key) for position in range(size)) == list(range(size))


@given(size=st.integers(1, 2**62), data=st.data(), key=keys)
def test_any_length_stays_within_its_range(size, data, key):
    index = permuted(data.draw(st.integers(0, size - 1)), size, *key)
    assert 0 <= index < size


def test_all_orders_are_equally_likely():
    drawn = Counter(tuple(permuted(position, 4, key) for position in range(4)) for key in range(24 * 200))
    assert len(drawn) == 24
    chi_squared = sum((count - 200) ** 2 / 200 for count in drawn.values())
    assert chi_squared < 49.7  # 23 degrees of freedom: one in a thousand is above


def test_neighbours_are_torn_apart():
    size = 5000
    order = np.array([permuted(position, size, 7) for position in range(size)])
    assert abs(np.corrcoef(np.arange(size), order)[0, 1]) < 4 / np.sqrt(size)
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 4 / np.sqrt(size)
    steps = np.abs(np.diff(order))
    assert abs(steps.mean() / (size / 3) - 1) < 0.05  # of two random indices, a third of the length apart on average


def test_order_stays_what_it_is():
    """Pin the order, because a change would resume runs in another order than they began in."""
    assert [permuted(position, 10, 1, 2) for position in range(10)] == [3, 8, 1, 0, 5, 9, 7, 2, 4, 6]
    assert hashed(1, 2, 3) == 5809300636878265108


@pytest.mark.parametrize(("position", "size"), [(-1, 5), (5, 5), (0, 0)])
def test_position_outside_is_refused(position, size):
    with pytest.raises(ValueError, match="position: got"):
        permuted(position, size)
