import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from mggtalk.models.batches import collate_drivers, collate_sources, collate_targets
from mggtalk.records import Split
from mggtalk.shards import OnCorruptSample
from mggtalk.training.data.host_batch import HostBatch
from mggtalk.training.data.loader import LoaderConfig, PairLoader
from mggtalk.training.data.pairs import FramePair, PairReader, collate_tracks

CLIP = "00000000000000aa-f000000"
PAIRS = [FramePair(CLIP, 2, 3), FramePair(CLIP, 4, 0)]
CPU = torch.device("cpu")


@pytest.mark.parametrize("size", [32, 64])
def test_unpacked_batch_is_that_of_the_frames(shards, size):
    """At 64 px, the stored size, depth and normals become floats here; below, they come as floats."""
    reader = PairReader(shards, Split.TRAIN, size, seed=0)
    sources, targets = zip(*(reader.read(pair) for pair in PAIRS), strict=True)
    tracks = collate_tracks([reader.read_tracks(pair) for pair in PAIRS])
    source, driver, target, same_tracks = HostBatch.of(sources, targets, tracks).unpack(CPU)
    whole = [shards.source_frame(pair.clip_id, pair.source_frame, size) for pair in PAIRS]
    for ours, expected in (
        (source, collate_sources(whole)),
        (driver, collate_drivers(targets)),
        (target, collate_targets(targets)),
        (same_tracks, tracks),
    ):
        for name in (field.name for field in dataclasses.fields(expected)):
            value, wanted = getattr(ours, name), getattr(expected, name)
            assert value.dtype == wanted.dtype, name
            if name == "normals":
                assert torch.allclose(value, wanted, atol=1e-6)
            else:
                assert torch.equal(value, wanted), name


def test_normals_are_of_unit_length_or_none(shards):
    reader = PairReader(shards, Split.TRAIN, 64, seed=0)
    source, target = reader.read(PAIRS[0])
    tracks = collate_tracks([reader.read_tracks(PAIRS[0])])
    length = HostBatch.of((source,), (target,), tracks).unpack(CPU)[0].normals.norm(dim=1)
    known = shards.source_frame(CLIP, 2).depth > 0
    assert known.any()
    assert not known.all()
    expected = torch.from_numpy(known.astype(np.float32))[None]
    assert torch.allclose(length, expected, atol=1e-5)


@pytest.fixture
def packed(shards):
    reader = PairReader(shards, Split.TRAIN, 64, seed=0)
    sources, targets = zip(*(reader.read(pair) for pair in PAIRS), strict=True)
    return HostBatch.of(sources, targets, collate_tracks([reader.read_tracks(pair) for pair in PAIRS]))


def assert_same(unpacked: tuple[Any, ...], expected: tuple[Any, ...]) -> None:
    for ours, wanted in zip(unpacked, expected, strict=True):
        for name in (field.name for field in dataclasses.fields(wanted)):
            assert torch.allclose(getattr(ours, name).cpu(), getattr(wanted, name), atol=1e-6), name


def keep_busy() -> torch.cuda.Event:
    """Give the current stream a second of work, and return the event of its end."""
    matrix = torch.rand(8192, 8192, device="cuda")
    for _ in range(40):
        matrix = matrix @ matrix
    done = torch.cuda.Event()
    done.record()
    return done


@pytest.mark.gpu
def test_a_batch_that_was_sent_ahead_does_not_wait_for_other_work(packed):
    copies = torch.cuda.Stream()
    packed.send(copies).unpack(torch.device("cuda"))  # loads kernels, pins memory
    torch.cuda.synchronize()
    done = keep_busy()
    sent = packed.send(copies)
    sent.arrival.synchronize()
    assert not done.query()
    unpacked = sent.unpack(torch.device("cuda", 0))
    del sent
    with torch.cuda.stream(copies):  # would reuse the batch's memory if the other stream had no claim to it
        fillers = [torch.full((64, 64), 7.0, device="cuda") for _ in range(64)]
    assert_same(unpacked, packed.unpack(CPU))
    del fillers


@pytest.mark.gpu
def test_what_is_computed_of_a_batch_waits_until_it_is_there(packed):
    copies = torch.cuda.Stream()
    packed.send(copies).unpack(torch.device("cuda"))
    torch.cuda.synchronize()
    with torch.cuda.stream(copies):
        done = keep_busy()
    unpacked = packed.send(copies).unpack(torch.device("cuda"))
    assert not done.query()
    assert_same(unpacked, packed.unpack(CPU))


@pytest.mark.gpu
def test_a_batch_is_unpacked_where_it_was_sent(packed):
    with pytest.raises(ValueError, match="sent to cuda:0, got cpu"):
        packed.send(torch.cuda.Stream()).unpack(CPU)


@pytest.mark.gpu
def test_threads_send_the_batches_of_every_step(shards):
    reader = PairReader(shards, Split.TRAIN, 64, seed=0)
    settings = LoaderConfig(steps=6, batch_size=3, track_pairs=2, threads=3, on_corrupt_sample=OnCorruptSample.STOP)
    device = torch.device("cuda")
    ahead = PairLoader(reader, dataclasses.replace(settings, device=device), 0, 1)
    for ours, theirs in zip(PairLoader(reader, settings, 0, 1), ahead, strict=True):
        assert ours.step == theirs.step
        assert_same(theirs.batch.unpack(device), ours.batch.unpack(CPU))
    ahead.load_state_dict({**ahead.state_dict(), "step": 2})
    for there in ahead:
        assert there.step == 2
        break
