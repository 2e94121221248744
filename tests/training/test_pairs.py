from collections import Counter

import numpy as np
import pytest
import torch

from mggtalk.errors import StageError
from mggtalk.records import Split
from mggtalk.shards import ClipEntry
from mggtalk.training.pairs import FramePair, PairReader, PairSampler


def clip(clip_id: str, num_frames: int, source_frames: tuple[int, ...]) -> ClipEntry:
    return ClipEntry(clip_id, clip_id, f"video:{clip_id}", "CC0-1.0", Split.TRAIN, num_frames, source_frames)


CLIPS = [clip("aa", 100, (0, 50)), clip("bb", 300, (5,)), clip("cc", 600, tuple(range(0, 600, 25)))]


def test_pair_is_a_function_of_seed_and_number():
    ours, theirs = PairSampler(CLIPS, seed=3), PairSampler(CLIPS[::-1], seed=3)
    numbers = [7, 0, 123456, 7]
    assert [ours.pair(number) for number in numbers] == [theirs.pair(number) for number in numbers]
    assert len({ours.pair(number) for number in range(50)}) > 40
    assert [ours.pair(number) for number in range(9)] != [PairSampler(CLIPS, 4).pair(number) for number in range(9)]


@pytest.mark.parametrize("world_size", [2, 4])
def test_any_number_of_workers_draws_the_same_batches(world_size):
    sampler = PairSampler(CLIPS, seed=0)
    for step in range(3):
        shared_out = [pair for rank in range(world_size) for pair in sampler.share(step, 8, rank, world_size)]
        assert shared_out == sampler.share(step, 8, 0, 1)


def test_steps_go_through_the_pairs_without_overlap():
    sampler = PairSampler(CLIPS, seed=0)
    drawn = [pair for step in range(4) for pair in sampler.share(step, 6, 0, 1)]
    assert drawn == [sampler.pair(number) for number in range(24)]


def test_clips_come_up_by_their_length():
    sampler = PairSampler(CLIPS, seed=1)
    count = 4000
    drawn = Counter(sampler.pair(number).clip_id for number in range(count))
    for entry in CLIPS:
        share = entry.num_frames / 1000
        # Four standard deviations of a binomial share.
        assert abs(drawn[entry.clip_id] / count - share) < 4 * np.sqrt(share * (1 - share) / count)


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


def test_reader_gives_the_frames_of_the_pairs_at_its_size(shards):
    reader = PairReader(shards, Split.TRAIN, 32, seed=0)
    clip_id = "00000000000000aa-f000000"
    sources, targets = reader.read([FramePair(clip_id, 2, 3), FramePair(clip_id, 4, 0)])
    assert np.array_equal(sources[0].frame.image, shards.head_frame(clip_id, 2, 32).image)
    assert np.array_equal(sources[1].depth, shards.source_frame(clip_id, 4, 32).depth)
    assert np.array_equal(targets[0].expression, shards.tracks(clip_id).expression[3])
    assert targets[1].image.shape == (32, 32, 3)


def test_reader_gives_the_tracks_of_the_pairs(shards):
    reader = PairReader(shards, Split.TRAIN, 32, seed=0)
    first, second = "00000000000000aa-f000000", "11000000000000bb-f000000"
    tracks = reader.read_tracks([FramePair(first, 2, 3), FramePair(second, 0, 1)])
    assert tracks.source_landmarks.shape == (2, 478, 3)
    for name, frame in (("source", 0), ("target", 1)):
        expected = shards.tracks(second)
        assert torch.equal(getattr(tracks, f"{name}_landmarks")[1], torch.from_numpy(expected.landmarks[frame]))
        assert torch.equal(getattr(tracks, f"{name}_expression")[1], torch.from_numpy(expected.expression[frame]))


def test_reader_draws_from_its_split(shards):
    for split in (Split.TRAIN, Split.VAL):
        sampler = PairReader(shards, split, 32, seed=0).sampler
        drawn = {sampler.pair(number).clip_id for number in range(40)}
        assert drawn == {entry.clip_id for entry in shards.clips(split)}
    with pytest.raises(StageError):
        PairReader(shards, Split.TEST, 32, seed=0)
