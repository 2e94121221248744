from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mggtalk.shards.writing.prefix_tree import assign_leaves, id_bits, shard_name

# Few digits and short hashes make collisions, deep splits and several clips of one video.
CLIP_IDS = st.builds("{}-f{:03d}".format, st.text("0a", min_size=4, max_size=4), st.integers(0, 3))
SIZES = st.dictionaries(CLIP_IDS, st.integers(1, 40), max_size=30)
TARGETS = st.integers(1, 120)


def shared_start(*ids: str) -> str:
    length = next((n for n, column in enumerate(zip(*ids, strict=False)) if len(set(column)) > 1), min(map(len, ids)))
    return ids[0][:length]


def leaves_by_bits(sizes: dict[str, int], target: int) -> dict[str, tuple[str, ...]]:
    """Return the leaves by the longest common prefix of their ids."""
    return {shared_start(*map(id_bits, clips)): clips for clips in assign_leaves(sizes, target).values()}


@given(SIZES, TARGETS)
def test_every_clip_is_in_exactly_one_leaf_and_leaves_are_runs_of_sorted_ids(sizes, target):
    leaves = assign_leaves(sizes, target)
    assert [clip for clips in leaves.values() for clip in clips] == sorted(sizes, key=id_bits)
    assert all(len(clips) > 0 for clips in leaves.values())


@given(SIZES, TARGETS)
def test_a_leaf_is_over_the_target_only_if_it_is_one_clip(sizes, target):
    for clips in assign_leaves(sizes, target).values():
        assert len(clips) == 1 or sum(sizes[clip] for clip in clips) <= target


@given(SIZES, TARGETS)
def test_no_leaf_was_split_without_need(sizes, target):
    leaves = list(leaves_by_bits(sizes, target))
    for first, second in pairwise(leaves):
        together = [clip for clip in sizes if id_bits(clip).startswith(shared_start(first, second))]
        assert sum(sizes[clip] for clip in together) > target


@given(SIZES.filter(bool), TARGETS, st.randoms())
def test_order_does_not_matter(sizes, target, random):
    shuffled = list(sizes.items())
    random.shuffle(shuffled)
    assert assign_leaves(dict(shuffled), target) == assign_leaves(sizes, target)


@given(SIZES, TARGETS, CLIP_IDS, st.integers(1, 40))
def test_a_new_clip_changes_only_the_leaf_that_it_falls_in(sizes, target, new_clip, new_size):
    sizes.pop(new_clip, None)
    before, after = assign_leaves(sizes, target), assign_leaves({**sizes, new_clip: new_size}, target)
    changed = [name for name in before if after.get(name) != before[name]]
    assert len(changed) <= 1
    touched = {clip for name in changed for clip in before[name]} | {new_clip}
    new = [clips for name, clips in after.items() if before.get(name) != clips]
    assert {clip for clips in new for clip in clips} == touched


@given(SIZES, TARGETS, CLIP_IDS)
def test_a_new_clip_no_larger_than_the_others_changes_at_most_two_shards(sizes, target, new_clip):
    sizes.pop(new_clip, None)
    new_size = min(sizes.values(), default=1)
    before, after = assign_leaves(sizes, target), assign_leaves({**sizes, new_clip: new_size}, target)
    assert sum(before.get(name) != clips for name, clips in after.items()) <= 2


@given(SIZES, TARGETS, CLIP_IDS, st.integers(1, 40))
def test_a_new_clip_costs_at_most_one_full_shard_beside_itself(sizes, target, new_clip, new_size):
    sizes.pop(new_clip, None)
    before, after = assign_leaves(sizes, target), assign_leaves({**sizes, new_clip: new_size}, target)
    old = set(before.values())  # the same clips are the same bytes, which a store has whatever their name
    sent = [clip for clips in after.values() if clips not in old for clip in clips]
    assert new_clip in sent
    assert sum(sizes[clip] for clip in sent if clip != new_clip) <= target


def test_splits_by_the_next_bit_and_names_leaves_by_it():
    sizes = {"0a": 60, "0b": 30, "7c": 50}
    assert assign_leaves(sizes, 140) == {"all": ("0a", "0b", "7c")}
    assert assign_leaves(sizes, 139) == {"all.00": ("0a", "0b"), "all.01": ("7c",)}
    assert assign_leaves(sizes, 89) == {"0a": ("0a",), "0b": ("0b",), "all.01": ("7c",)}
    assert shard_name("all.01") == "all.01.tar"


@pytest.mark.parametrize(
    ("clips", "names"),
    [
        (("3a-f0", "3c-f0"), {"3.10", "3.11"}),
        (("3a", "3a-f0"), {"3a.x0000000000000000", "3a.x0000000000000001"}),
        (("3a", "3ab"), {"3a", "3a.x"}),
        (("3a-", "3ab"), {"3a", "3a.x"}),
    ],
)
def test_names_tell_leaves_apart(clips, names):
    assert set(assign_leaves(dict.fromkeys(clips, 2), 3)) == names


@given(SIZES, TARGETS)
def test_no_two_leaves_have_one_name_and_none_is_hidden(sizes, target):
    leaves = assign_leaves(sizes, target)
    assert sum(map(len, leaves.values())) == len(sizes)
    assert not [name for name in leaves if name.startswith((".", "_"))]  # readers of folders take those for hidden


def test_no_clips_no_leaves_and_no_senseless_target():
    assert assign_leaves({}, 10) == {}
    with pytest.raises(ValueError, match="target_bytes: expected a positive number, got 0"):
        assign_leaves({"0": 1}, 0)
