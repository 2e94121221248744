import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mggtalk.geometry.symmetry import _contains, keep_mirrored, mirror_points, voxel_keys

# Multiples of 1/8 fall on voxel borders too, and are exact in float32.
clouds = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 40), st.just(3)), elements=st.integers(-96, 96).map(lambda step: step / 8)
)
voxel_sizes = st.sampled_from([0.25, 0.5, 1.5])


def keep(visible, mirrored, voxel_size):
    return keep_mirrored(
        visible,
        mirrored,
        torch.zeros(len(visible), dtype=torch.int64),
        torch.zeros(len(mirrored), dtype=torch.int64),
        voxel_size,
    )


@given(clouds)
def test_mirrored_twice_is_where_it_was(points):
    cloud = torch.from_numpy(points)
    assert torch.equal(mirror_points(mirror_points(cloud)), cloud)
    assert torch.equal(mirror_points(cloud)[:, 1:], cloud[:, 1:])
    assert torch.equal(mirror_points(cloud)[:, 0], -cloud[:, 0])


@given(clouds, clouds, voxel_sizes)
def test_exactly_the_points_in_voxels_that_nothing_visible_occupies_are_kept(visible, mirrored, voxel_size):
    occupied = {tuple(cell) for cell in np.floor(visible / voxel_size).astype(int)}
    expected = [tuple(cell) not in occupied for cell in np.floor(mirrored / voxel_size).astype(int)]
    assert keep(torch.from_numpy(visible), torch.from_numpy(mirrored), voxel_size).tolist() == expected


@given(clouds, voxel_sizes, st.randoms(use_true_random=False))
def test_the_order_of_points_does_not_matter(points, voxel_size, random):
    visible = torch.from_numpy(points)
    mirrored = mirror_points(visible)
    order = list(range(len(points)))
    random.shuffle(order)
    kept = keep(visible, mirrored, voxel_size)
    assert torch.equal(keep(visible[order], mirrored, voxel_size), kept)
    assert torch.equal(keep(visible, mirrored[order], voxel_size), kept[order])


@given(st.lists(clouds, min_size=2, max_size=4), voxel_sizes, st.integers(0, 30_000))
@example([np.full((1, 3), -1, np.float32), np.full((1, 3), 0, np.float32)], 0.5, 0)
def test_a_batch_gives_what_each_head_gives_by_itself(heads, voxel_size, first_head):
    visible = torch.from_numpy(np.concatenate(heads))
    numbers = torch.cat([torch.full((len(head),), first_head + index) for index, head in enumerate(heads)])
    batch = keep_mirrored(visible, mirror_points(visible), numbers, numbers, voxel_size)
    alone = [keep(torch.from_numpy(head), mirror_points(torch.from_numpy(head)), voxel_size) for head in heads]
    assert torch.equal(batch, torch.cat(alone))


def test_no_two_voxels_or_heads_share_a_key():
    steps = torch.arange(-6, 6)
    cells = torch.cartesian_prod(steps, steps, steps)
    points = (cells.float() + 0.5).repeat(40, 1)
    head = torch.arange(40).repeat_interleave(len(cells))
    assert len(torch.unique(voxel_keys(points, head, 1.0))) == len(points)


def test_a_head_that_is_seen_whole_keeps_no_mirrored_point():
    directions = torch.nn.functional.normalize(torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    visible = torch.cat((directions * 9, mirror_points(directions * 9)))
    assert not keep(visible, mirror_points(visible), 0.5).any()


def test_gradients_reach_the_positions_behind_the_kept_points():
    visible = torch.tensor([[3.0, 0.0, 0.0], [-3.0, 0.0, 0.0], [5.0, 1.0, 2.0]], requires_grad=True)
    mirrored = mirror_points(visible)
    kept = keep(visible, mirrored, 0.7)
    # The first two are each other's mirror image up to the voxel, so that only the third one's side is unseen.
    assert kept[2].item()
    mirrored[kept].sum().backward()
    assert visible.grad is not None
    assert visible.grad[2].tolist() == pytest.approx([-1.0, 1.0, 1.0])


@given(st.lists(st.integers(0, 2**63 - 1), max_size=30), st.lists(st.integers(0, 2**63 - 1), max_size=30), st.data())
def test_numbers_are_among_others_exactly_where_they_are(known, others, data):
    asked = others + [data.draw(st.sampled_from(known)) for _ in range(10) if known]
    found = _contains(torch.tensor(known, dtype=torch.int64), torch.tensor(asked, dtype=torch.int64))
    assert found.tolist() == [key in known for key in asked]
