import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from mggtalk.models.batches import collate_drivers, collate_sources, collate_targets
from mggtalk.records import Split
from mggtalk.training.packed import PackedBatch
from mggtalk.training.pairs import FramePair, PairReader, collate_tracks

CLIP = "00000000000000aa-f000000"
PAIRS = [FramePair(CLIP, 2, 3), FramePair(CLIP, 4, 0)]
CPU = torch.device("cpu")


@pytest.mark.parametrize("size", [32, 64])
def test_unpacked_batch_is_that_of_the_frames(shards, size):
    """At 64 px, the stored size, depth and normals become floats here; below, they come as floats."""
    reader = PairReader(shards, Split.TRAIN, size, seed=0)
    sources, targets = zip(*(reader.read(pair) for pair in PAIRS), strict=True)
    tracks = collate_tracks([reader.read_tracks(pair) for pair in PAIRS])
    source, driver, target, same_tracks = PackedBatch.of(sources, targets, tracks).unpack(CPU)
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
    length = PackedBatch.of((source,), (target,), tracks).unpack(CPU)[0].normals.norm(dim=1)
    known = shards.source_frame(CLIP, 2).depth > 0
    assert known.any()
    assert not known.all()
    expected = torch.from_numpy(known.astype(np.float32))[None]
    assert torch.allclose(length, expected, atol=1e-5)


@pytest.mark.gpu
def test_a_batch_that_was_sent_ahead_is_the_same_and_does_not_wait_for_other_work(shards):
    reader = PairReader(shards, Split.TRAIN, 64, seed=0)
    sources, targets = zip(*(reader.read(pair) for pair in PAIRS), strict=True)
    batch = PackedBatch.of(sources, targets, collate_tracks([reader.read_tracks(pair) for pair in PAIRS]))
    device, copies = torch.device("cuda", 0), torch.cuda.Stream()
    batch.send(copies).unpack(device)  # loads kernels, pins memory
    matrix = torch.rand(8192, 8192, device=device)
    matrix @ matrix
    torch.cuda.synchronize()
    for _ in range(20):
        matrix = matrix @ matrix
    done = torch.cuda.Event()
    done.record()
    sent = batch.send(copies)
    sent.arrival.synchronize()
    assert not done.query()
    unpacked = sent.unpack(device)
    del sent
    fillers = [torch.full((64, 64), 7.0, device=device) for _ in range(64)]
    with torch.cuda.stream(copies):
        fillers += [torch.full((64, 64), 7.0, device=device) for _ in range(64)]
    assert fillers
    ours: Any
    expected: Any
    for ours, expected in zip(unpacked, batch.unpack(CPU), strict=True):
        for name in (field.name for field in dataclasses.fields(expected)):
            assert torch.allclose(getattr(ours, name).cpu(), getattr(expected, name), atol=1e-6), name
