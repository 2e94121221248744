import torch
from hypothesis import given
from hypothesis import strategies as st

from mggtalk.models.points.packed_to_padded import PackedToPadded

HEADS = st.lists(st.integers(0, 4), max_size=30).map(lambda heads: torch.tensor(heads, dtype=torch.int64))


@given(HEADS)
def test_rows_hold_the_points_of_their_head_in_order_and_zeros(batch_index):
    packing = PackedToPadded.of(batch_index, 5)
    numbers = torch.arange(1, len(batch_index) + 1).float()
    rows = packing.pad(numbers)
    for number, row in enumerate(rows):
        expected = numbers[batch_index == number]
        assert torch.equal(row[: len(expected)], expected)
        assert (row[len(expected) :] == 0).all()
    assert torch.equal(packing.unpad(rows), numbers)


@given(HEADS, st.integers(1, 4))
def test_parts_of_a_point_lie_next_to_each_other_where_it_lay(batch_index, parts):
    packing = PackedToPadded.of(batch_index, 5)
    numbers = torch.arange(1, len(batch_index) + 1).float()
    rows = packing.split_each(parts).pad(numbers.repeat_interleave(parts))
    assert torch.equal(rows, packing.pad(numbers).repeat_interleave(parts, dim=1))
