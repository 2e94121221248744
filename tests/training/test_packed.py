import dataclasses

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
