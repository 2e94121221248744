"""The stage `shards` with backends that have a network: tiny ones, with random weights."""

from dataclasses import replace

import numpy as np
import pytest

from mggtalk.records import ShardSample
from mggtalk.shards import schema
from mggtalk.shards.codecs import images
from mggtalk.stages.shards.stage import ShardsStage
from tests.support.footage import SHARDS
from tests.support.tiny_networks import save_depth_network, save_parsing_network

HASHES = {"face_landmarker": "a" * 64}


@pytest.fixture(scope="module")
def clip(tracked_talk):
    whole = tracked_talk.clips[0]
    arrays = ("times_s", "frame_index", "landmarks_px", "landmarks", "head_to_camera", "expression")
    return replace(
        whole, **{name: getattr(whole, name)[:10] for name in (*arrays, "face_size", "sharpness")}, start_frame=0
    )


def sample_of(clip, settings, model_paths):
    (sample,) = ShardsStage(replace(settings, min_head_fraction=0.0), "mediapipe_478", model_paths, HASHES)(clip)
    assert isinstance(sample, ShardSample)
    return sample


def test_depth_that_cannot_be_aligned_is_that_of_the_face_mesh_and_said_so(clip, segmenter_path, tmp_path):
    paths = {"selfie_segmentation": segmenter_path, "depth_model": save_depth_network(tmp_path / "network")}
    got = sample_of(clip, replace(SHARDS, depth="depth_anything"), paths)
    expected = sample_of(clip, SHARDS, paths)
    assert got.meta["perception"]["geometry"] == "depth_anything"
    # What a network with random weights says of a picture is not the shape of the face in it.
    assert got.meta["perception"]["facemesh_instead"] == [0, 8]
    assert "facemesh_instead" not in expected.meta["perception"]
    for frame in (0, 8):
        for member in (schema.depth_member(frame), schema.normal_member(frame), schema.cloud_member(frame)):
            assert got.members[member] == expected.members[member]


def test_masks_of_a_parsing_network_are_stored(clip, tmp_path):
    paths = {"parsing_model": save_parsing_network(tmp_path / "network")}
    sample = sample_of(clip, replace(SHARDS, head_parsing="segformer"), paths)
    assert sample.meta["perception"]["head_mask"] == "segformer"
    masks = np.stack([images.decode_mask(sample.members[schema.head_member(frame)]) for frame in range(10)])
    assert 0 < masks.mean() < 1
    depth = images.decode_depth(sample.members[schema.depth_member(8)], sample.meta["depth_scale"][1])
    np.testing.assert_array_equal(depth > 0, masks[8])
