import shutil
import threading
import time
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mggtalk.errors import SchemaVersionError, ShardError, StageError
from mggtalk.records import Split
from mggtalk.shards import Shards, read_index
from mggtalk.shards.corrupt_samples import OnCorruptSample
from mggtalk.shards.index import iterate_rows
from mggtalk.shards.schema import rgb_member
from mggtalk.training.data.loader import LoaderConfig, PairLoader
from mggtalk.training.data.pairs import PairReader

SIZE, STEPS = 16, 5
SETTINGS = LoaderConfig(steps=STEPS, batch_size=24, track_pairs=24, threads=0, on_corrupt_sample=OnCorruptSample.STOP)
RANKS, THREADS = st.sampled_from([1, 2, 3, 8]), st.sampled_from([0, 1, 4])


def make_loader(shards, rank=0, world_size=1, reader_class=PairReader, **changes):
    return PairLoader(reader_class(shards, Split.TRAIN, SIZE, seed=0), replace(SETTINGS, **changes), rank, world_size)


def content(batches):
    """Return for each step the values that identify its pairs, in order, with the slices of the ranks joined."""
    whole: dict[int, list[torch.Tensor]] = {}
    for loaded in batches:
        source, driver, target, tracks = loaded.batch.unpack(torch.device("cpu"))
        parts = (source.image, source.depth, source.normals, driver.expression, target.image, tracks.target_landmarks)
        whole.setdefault(loaded.step, []).append(torch.cat([part.flatten(1) for part in parts], dim=1))
    return {step: torch.cat(slices) for step, slices in whole.items()}


def equal(ours, theirs):
    return ours.keys() == theirs.keys() and all(torch.equal(ours[step], theirs[step]) for step in ours)


def of_all_ranks(shards, world_size, threads, state=None, stop=STEPS, **changes):
    """Return the batches of all ranks, rank by rank, and the final state of each rank."""
    batches, states = [], []
    for rank in range(world_size):
        loader = make_loader(shards, rank, world_size, threads=threads, **changes)
        if state:
            loader.load_state_dict(state)
        for loaded in loader if loader.state_dict()["step"] < stop else ():
            batches.append(loaded)
            if loaded.step == stop - 1:
                break
        states.append(loader.state_dict())
    return batches, states


@pytest.fixture(scope="module")
def uninterrupted(shards):
    return content(of_all_ranks(shards, 1, 0)[0])


@given(world_size=RANKS, threads=THREADS, later_size=RANKS, later_threads=THREADS, stop=st.integers(0, STEPS))
@settings(max_examples=settings().max_examples // 5)
def test_any_ranks_and_threads_give_one_order_and_go_on_with_any_other(
    shards, uninterrupted, world_size, threads, later_size, later_threads, stop
):
    before, states = of_all_ranks(shards, world_size, threads, stop=stop)
    assert all(state == states[0] for state in states)
    after, _ = of_all_ranks(shards, later_size, later_threads, state=states[0])
    assert equal(content(before) | content(after), uninterrupted)
    assert len(before) == stop * world_size  # no rank has a step more
    assert len(after) == (STEPS - stop) * later_size


def test_no_batch_is_short_where_epochs_end(shards, uninterrupted):
    epoch = PairReader(shards, Split.TRAIN, SIZE, seed=0).sampler.epoch_size
    assert epoch % SETTINGS.batch_size  # the batch in which it ends has pairs of two epochs
    assert epoch < STEPS * SETTINGS.batch_size
    assert all(len(batch) == SETTINGS.batch_size for batch in uninterrupted.values())


def test_tracks_alone_are_those_of_the_steps_in_every_rank(shards):
    whole = [loaded.batch.tracks for loaded in of_all_ranks(shards, 1, 0)[0]]
    for rank in range(3):
        tracks = make_loader(shards, rank, 3).load_tracks(20)
        for name in ("source_landmarks", "target_landmarks", "source_expression", "target_expression"):
            expected = torch.cat([getattr(whole[step], name) for step in (0, 1)])
            assert torch.equal(getattr(tracks, name), expected[: len(tracks.source_landmarks)])


def test_tracks_alone_are_of_an_epoch_at_most(shards):
    loader = make_loader(shards)
    assert len(loader.load_tracks(10**6).source_landmarks) == loader.state_dict()["epoch_size"]


def test_batch_larger_than_an_epoch_is_full(shards):
    (loaded,) = make_loader(shards, batch_size=40, steps=1)
    assert len(loaded.batch.targets.image) == 40


def test_finished_loader_gives_nothing_more(shards):
    loader = make_loader(shards, steps=1)
    assert len(list(loader)) == 1
    assert list(loader) == []


@pytest.mark.parametrize(("key", "changes"), [("batch_size", {"batch_size": 12}), ("track_pairs", {"track_pairs": 48})])
def test_state_of_another_order_is_refused(shards, key, changes):
    with pytest.raises(StageError, match=f"loader state: {key}: got {SETTINGS.batch_size}"):
        make_loader(shards, **changes).load_state_dict(make_loader(shards).state_dict())


def test_state_of_another_seed_is_refused(shards):
    other = PairLoader(PairReader(shards, Split.TRAIN, SIZE, seed=7), SETTINGS, 0, 1)
    with pytest.raises(StageError, match="loader state: seed: got 7, expected 0"):
        make_loader(shards).load_state_dict(other.state_dict())


class CountingReader(PairReader):
    """Counts pairs as they are begun."""

    begun = 0

    def read(self, pair):
        self.begun += 1
        return super().read(pair)


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_batches_ahead_are_bounded(shards, threads):
    reader = CountingReader(shards, Split.TRAIN, SIZE, seed=0)
    config = replace(SETTINGS, batch_size=1, track_pairs=1, steps=30, threads=threads)
    for loaded in PairLoader(reader, config, 0, 1):
        due = min(loaded.step + 1 + threads, config.steps)
        deadline = time.monotonic() + 20
        while reader.begun < due and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.005)  # more would be begun by now
        assert reader.begun == due


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_loader_that_is_left_leaves_no_thread(shards, threads):
    batches = iter(make_loader(shards, threads=threads))
    next(batches)
    batches.close()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("loader")]


@pytest.fixture(scope="module")
def damaged(shards, tmp_path_factory):
    """Return the shards with one broken image, and the pairs of the run that need it."""
    root = tmp_path_factory.mktemp("damaged") / "shards"
    shutil.copytree(shards.root, root)
    clip_id, frame = "00000000000000aa-f000000", 3
    row = next(row for row in iterate_rows(read_index(root)) if row.clip_id == clip_id)
    offset = row.member_offsets[row.member_names.index(rgb_member(frame))]
    path = root / row.shard
    path.write_bytes(path.read_bytes()[:offset] + b"broken" + path.read_bytes()[offset + 6 :])
    sampler = PairReader(shards, Split.TRAIN, SIZE, seed=0).sampler
    pairs = [sampler.pair(number) for number in range(STEPS * SETTINGS.batch_size)]
    broken = {
        number for number, pair in enumerate(pairs)
        if pair.clip_id == clip_id and frame in (pair.source_frame, pair.target_frame)
    }  # fmt: skip
    return Shards(root), broken


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_damage_stops_the_run_at_its_step(damaged, threads):
    shards, broken = damaged
    assert min(broken) >= 2  # some steps are sound
    loader = make_loader(shards, batch_size=1, track_pairs=1, threads=threads, steps=100)
    seen: list[int] = []
    with pytest.raises(ShardError, match=r"shard train/.*member 003\.rgb\.jpg: damaged"):
        seen.extend(loaded.step for loaded in loader)
    assert seen == list(range(min(broken)))
    assert loader.state_dict()["step"] == min(broken)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("loader")]


def test_damaged_pairs_are_replaced_by_the_next_of_their_epoch(damaged, shards, caplog):
    reader = PairReader(shards, Split.TRAIN, SIZE, seed=0)
    damaged_shards, broken = damaged
    epoch = reader.sampler.epoch_size
    assert broken
    for step, loaded in enumerate(
        make_loader(damaged_shards, batch_size=1, track_pairs=1, steps=epoch, on_corrupt_sample=OnCorruptSample.SKIP)
    ):
        number = step
        while number in broken:
            number = (number + 1) % epoch
        expected = reader.read(reader.sampler.pair(number))[1]
        assert (loaded.batch.targets.image[0].numpy() == expected.image).all()
        assert loaded.replaced == (step in broken)
    assert "skipped corrupt sample no. 1" in caplog.text
    assert "003.rgb.jpg: damaged" in caplog.text


@pytest.fixture(scope="module")
def replaced_alone(damaged):
    shards, _ = damaged
    return content(of_all_ranks(shards, 1, 0, on_corrupt_sample=OnCorruptSample.SKIP)[0])


@given(world_size=RANKS, threads=THREADS)
@settings(max_examples=settings().max_examples // 5)
def test_replacements_are_the_same_for_any_ranks_and_threads(damaged, replaced_alone, world_size, threads):
    shards, broken = damaged
    together, _ = of_all_ranks(shards, world_size, threads, on_corrupt_sample=OnCorruptSample.SKIP)
    assert equal(content(together), replaced_alone)
    assert sum(loaded.replaced for loaded in together) == len(broken)


class BrokenReader(PairReader):
    """Reads nothing."""

    error = ShardError

    def read(self, pair):
        raise self.error(f"no {pair.clip_id}", sample=pair.clip_id)


def test_run_in_which_nothing_can_be_read_stops(shards):
    loader = make_loader(shards, reader_class=BrokenReader, on_corrupt_sample=OnCorruptSample.SKIP)
    with pytest.raises(ShardError, match=r"\d+ pairs in a row cannot be read"):
        next(iter(loader))


def test_shards_of_another_version_are_not_skipped(shards):
    class Newer(BrokenReader):
        error = SchemaVersionError

    with pytest.raises(SchemaVersionError):
        next(iter(make_loader(shards, reader_class=Newer, on_corrupt_sample=OnCorruptSample.SKIP)))
