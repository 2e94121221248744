from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mggtalk.errors import StageError
from mggtalk.records import QuantizedSource, SourceFrame, Split
from mggtalk.shards import ClipEntry
from mggtalk.shards.codecs.images import normals_of_colors
from mggtalk.training.data.pairs import FramePair, PairReader, PairSampler, collate_tracks, rank_slice


def clip(clip_id: str, num_frames: int, source_frames: tuple[int, ...]) -> ClipEntry:
    return ClipEntry(clip_id, clip_id, f"video:{clip_id}", "CC0-1.0", Split.TRAIN, num_frames, source_frames)


CLIPS = [clip("aa", 100, (0, 50)), clip("bb", 300, (5,)), clip("cc", 600, tuple(range(0, 600, 25)))]


def test_pair_is_a_function_of_seed_and_number():
    ours, theirs = PairSampler(CLIPS, seed=3), PairSampler(CLIPS[::-1], seed=3)
    numbers = [7, 0, 123456, 7]
    assert [ours.pair(number) for number in numbers] == [theirs.pair(number) for number in numbers]
    assert len({ours.pair(number) for number in range(50)}) > 40
    assert [ours.pair(number) for number in range(9)] != [PairSampler(CLIPS, 4).pair(number) for number in range(9)]


@given(
    world_size=st.sampled_from([1, 2, 3, 8]), own=st.integers(1, 5), step=st.integers(0, 10**9), seed=st.integers(0, 9)
)
def test_any_number_of_workers_draws_the_same_batches(world_size, own, step, seed):
    batch_size, sampler = own * world_size, PairSampler(CLIPS, seed)
    drawn = [number for rank in range(world_size) for number in rank_slice(step, batch_size, rank, world_size)]
    assert drawn == list(range(step * batch_size, (step + 1) * batch_size))
    assert all(sampler.pair(number) == PairSampler(CLIPS, seed).pair(number) for number in drawn)


def test_batch_that_cannot_be_split_evenly_is_refused():
    with pytest.raises(ValueError, match="batch_size: got 8, expected a multiple of 3 workers"):
        rank_slice(0, 8, 0, 3)


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6), seed=st.integers(0, 2**40), epoch=st.integers(0, 50)
)
def test_epoch_has_every_frame_once(lengths, seed, epoch):
    clips = [clip(f"{number:02d}", length, (0, length - 1)) for number, length in enumerate(lengths)]
    sampler = PairSampler(clips, seed)
    assert sampler.epoch_size == sum(lengths)
    pairs = [sampler.pair(epoch * sampler.epoch_size + index) for index in range(sampler.epoch_size)]
    targets = sorted((pair.clip_id, pair.target_frame) for pair in pairs)
    assert targets == [(entry.clip_id, frame) for entry in clips for frame in range(entry.num_frames)]
    assert all(pair.source_frame in clips[int(pair.clip_id)].source_frames for pair in pairs)


def test_epochs_differ_in_order_and_sources():
    sampler = PairSampler(CLIPS, seed=0)
    first, second = ([sampler.pair(epoch * 1000 + index) for index in range(1000)] for epoch in (0, 1))
    assert sum(ours == theirs for ours, theirs in zip(first, second, strict=True)) < 20
    sources = [{(pair.clip_id, pair.target_frame): pair.source_frame for pair in pairs} for pairs in (first, second)]
    changed = Counter(
        clip_id for (clip_id, frame), source in sources[0].items() if sources[1][clip_id, frame] != source
    )
    assert changed["aa"] == pytest.approx(50, abs=20)  # of two sources, every other time
    assert changed["bb"] == 0
    assert changed["cc"] > 540


def test_sources_of_a_clip_come_up_equally():
    sampler = PairSampler([clip("aa", 100, (0, 30, 60, 90))], seed=0)
    drawn = Counter(sampler.pair(number).source_frame for number in range(4000))
    # Four standard deviations of a binomial fraction.
    assert all(abs(count - 1000) < 4 * np.sqrt(4000 * 0.25 * 0.75) for count in drawn.values())


def test_streams_differ():
    ours, theirs = PairSampler(CLIPS, 0), PairSampler(CLIPS, 0, stream=1)
    assert sum(ours.pair(number) == theirs.pair(number) for number in range(500)) < 10


def test_replacements_are_the_next_pairs_of_the_epoch():
    sampler = PairSampler(CLIPS, seed=0)
    assert sampler.pair(5, 2) == sampler.pair(7)
    assert sampler.pair(1999, 1) == sampler.pair(1000)  # not one of the third epoch


def test_sources_carry_geometry_and_all_frames_are_targets():
    sampler = PairSampler([clip("aa", 8, (0, 5))], seed=0)
    pairs = [sampler.pair(number) for number in range(300)]
    assert {pair.source_frame for pair in pairs} == {0, 5}
    assert {pair.target_frame for pair in pairs} == set(range(8))


def test_clips_without_geometry_are_left_out():
    sampler = PairSampler([clip("aa", 500, ()), CLIPS[1]], seed=0)
    assert {sampler.pair(number).clip_id for number in range(20)} == {"bb"}


@pytest.mark.parametrize("clips", [[], [clip("aa", 500, ())]])
def test_nothing_to_draw_from_is_an_error(clips):
    with pytest.raises(StageError, match="no clips to draw pairs from"):
        PairSampler(clips, seed=0)


def test_reader_gives_the_frames_of_a_pair_at_its_size(shards):
    reader = PairReader(shards, Split.TRAIN, 32, seed=0)
    clip_id = "00000000000000aa-f000000"
    source, target = reader.read(FramePair(clip_id, 2, 3))
    assert isinstance(source, SourceFrame)
    assert np.array_equal(source.frame.image, shards.head_frame(clip_id, 2, 32).image)
    assert np.array_equal(source.depth, shards.source_frame(clip_id, 2, 32).depth)
    assert np.array_equal(target.expression, shards.tracks(clip_id).expression[3])
    assert target.image.shape == (32, 32, 3)


def test_reader_leaves_a_source_of_the_stored_size_as_it_is(shards):
    clip_id = "00000000000000aa-f000000"
    source, target = PairReader(shards, Split.TRAIN, 64, seed=0).read(FramePair(clip_id, 2, 3))
    assert isinstance(source, QuantizedSource)
    whole = shards.source_frame(clip_id, 2)
    assert np.array_equal(source.frame.image, whole.frame.image)
    assert np.array_equal(source.depth_units * np.float32(source.depth_scale), whole.depth)
    assert np.array_equal(normals_of_colors(source.normal_colors), whole.normals)
    assert target.image.shape == (64, 64, 3)


def test_reader_gives_the_tracks_of_pairs(shards):
    reader = PairReader(shards, Split.TRAIN, 32, seed=0)
    pairs = [FramePair("00000000000000aa-f000000", 2, 3), FramePair("11000000000000bb-f000000", 0, 1)]
    tracks = collate_tracks([reader.read_tracks(pair) for pair in pairs])
    assert tracks.source_landmarks.shape == (2, 478, 3)
    for number, pair in enumerate(pairs):
        expected = shards.tracks(pair.clip_id)
        for end, frame in (("source", pair.source_frame), ("target", pair.target_frame)):
            for name in ("landmarks", "expression"):
                ours = getattr(tracks, f"{end}_{name}")[number]
                assert torch.equal(ours, torch.from_numpy(getattr(expected, name)[frame]))


def test_reader_draws_from_its_split(shards):
    for split in (Split.TRAIN, Split.VAL):
        sampler = PairReader(shards, split, 32, seed=0).sampler
        drawn = {sampler.pair(number).clip_id for number in range(40)}
        assert drawn == {entry.clip_id for entry in shards.clips(split)}
    with pytest.raises(StageError):
        PairReader(shards, Split.TEST, 32, seed=0)
