import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mggtalk.shards.prefix_tree import assign_leaves, shard_name

# Few digits and short hashes make collisions, deep splits and several clips of one video.
CLIP_IDS = st.builds("{}-f{:03d}".format, st.text("0a", min_size=4, max_size=4), st.integers(0, 3))
SIZES = st.dictionaries(CLIP_IDS, st.integers(1, 40), max_size=30)
TARGETS = st.integers(1, 120)


@settings(deadline=None)
@given(SIZES, TARGETS)
def test_every_clip_is_in_exactly_one_leaf_whose_prefix_it_has(sizes, target):
    leaves = assign_leaves(sizes, target)
    assert sorted(clip for clips in leaves.values() for clip in clips) == sorted(sizes)
    assert all(clip.startswith(prefix) for prefix, clips in leaves.items() for clip in clips)
    assert list(leaves) == sorted(leaves)


@settings(deadline=None)
@given(SIZES, TARGETS)
def test_a_leaf_is_over_the_target_only_if_it_is_one_clip(sizes, target):
    for clips in assign_leaves(sizes, target).values():
        assert len(clips) == 1 or sum(sizes[clip] for clip in clips) <= target


@settings(deadline=None)
@given(SIZES, TARGETS)
def test_no_leaf_was_split_without_need(sizes, target):
    for prefix in assign_leaves(sizes, target):
        if prefix:
            siblings = [size for clip, size in sizes.items() if clip.startswith(prefix[:-1])]
            assert len(siblings) > 1
            assert sum(siblings) > target


@settings(deadline=None)
@given(SIZES.filter(bool), TARGETS, st.randoms())
def test_order_does_not_matter(sizes, target, random):
    shuffled = list(sizes.items())
    random.shuffle(shuffled)
    assert assign_leaves(dict(shuffled), target) == assign_leaves(sizes, target)


@settings(deadline=None)
@given(SIZES, TARGETS, CLIP_IDS, st.integers(1, 40))
def test_a_new_clip_changes_only_the_leaf_that_it_falls_in(sizes, target, new_clip, new_size):
    sizes.pop(new_clip, None)
    before, after = assign_leaves(sizes, target), assign_leaves({**sizes, new_clip: new_size}, target)
    changed = {prefix for prefix in before if after.get(prefix) != before[prefix]}
    assert len(changed) <= 1
    for prefix in changed:
        assert new_clip.startswith(prefix)
    for prefix in after.keys() - before.keys():
        # A leaf of its own, or a part of the one leaf that split.
        assert after[prefix] == (new_clip,) or any(prefix.startswith(parent) for parent in changed)


@settings(deadline=None)
@given(SIZES, TARGETS, CLIP_IDS, st.integers(1, 40))
def test_a_new_clip_costs_at_most_one_full_shard_beside_itself(sizes, target, new_clip, new_size):
    sizes.pop(new_clip, None)
    before, after = assign_leaves(sizes, target), assign_leaves({**sizes, new_clip: new_size}, target)
    old = set(before.values())  # the same clips are the same bytes, which a store has whatever their name
    sent = [clip for clips in after.values() if clips not in old for clip in clips]
    assert new_clip in sent
    assert sum(sizes[clip] for clip in sent if clip != new_clip) <= target


def test_splits_by_the_next_digit_and_names_files_by_prefix():
    sizes = {"0a": 60, "0b": 30, "7c": 50}
    assert assign_leaves(sizes, 140) == {"": ("0a", "0b", "7c")}
    assert assign_leaves(sizes, 139) == {"0": ("0a", "0b"), "7": ("7c",)}
    assert assign_leaves(sizes, 89) == {"0a": ("0a",), "0b": ("0b",), "7": ("7c",)}
    assert [shard_name(prefix) for prefix in ("", "0a")] == ["all.tar", "0a.tar"]


def test_no_clips_no_leaves_and_no_senseless_target():
    assert assign_leaves({}, 10) == {}
    with pytest.raises(ValueError, match="target_bytes: expected a positive number, got 0"):
        assign_leaves({"0": 1}, 0)
