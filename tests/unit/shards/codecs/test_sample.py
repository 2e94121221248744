import dataclasses

import numpy as np
import pytest

from mggtalk.records import AudioState, HeadCloud
from mggtalk.shards import SampleMeta, encode_cloud, encode_sample
from mggtalk.shards.codecs.images import decode_depth, encode_depth
from mggtalk.shards.schema import member_names, sample_key
from mggtalk.shards.writing.staging import tar_entry
from tests.support.shard_samples import make_clip

CLIP = make_clip("0" * 16 + "-f000000")


def encode(**changes):
    inputs = {"meta": CLIP.meta, "rgb": CLIP.rgb, "head_masks": CLIP.head_masks, "tracks": CLIP.tracks}
    inputs |= {"sources": CLIP.sources, "audio": None}
    return encode_sample(**{**inputs, **changes})


def test_members_are_those_of_the_schema_in_the_order_of_the_tar():
    meta = dataclasses.replace(CLIP.meta, audio=AudioState.SILENT)
    sample = encode(meta=meta, audio=b"fLaC")
    assert tuple(sample.members) == member_names(3, (0, 2), has_audio=True)
    assert sample.key == "0" * 16 + "-f000000-0000"
    assert sample.meta["depth_scale"] == tuple(CLIP.sources[frame].depth.max() / 65535 for frame in (0, 2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rgb": CLIP.rgb[:2]}, r"rgb: got shape \(2, 32, 32, 3\), expected \(3, 32, 32, 3\)"),
        ({"head_masks": CLIP.head_masks[:, :8]}, r"head_masks: got shape \(3, 8, 32\)"),
        ({"tracks": CLIP.tracks.chunk(0, 2)}, "tracks: got 2 frames, expected 3"),
        ({"audio": b"fLaC"}, "audio: got some, but `audio` is none"),
        ({"meta": dataclasses.replace(CLIP.meta, audio=AudioState.SILENT)}, "audio: got none, but `audio` is silent"),
        ({"sources": {0: CLIP.sources[0]}}, r"sources: got frames \[0\], expected \(0, 2\)"),
        ({"meta": dataclasses.replace(CLIP.meta, expression_names=("jawOpen",))}, "got 2 coefficients, expected 1"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        encode(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_frames": 65, "clip_num_frames": 65}, "num_frames: expected 1 to 64, got 65"),
        ({"num_frames": 2}, "num_frames: got 2, expected 3 at start_frame 0 of a clip of 3"),
        ({"source_frames": (2, 0)}, r"source_frames: expected ascending numbers below 3, got \(2, 0\)"),
        ({"source_frames": (0, 3)}, "source_frames"),
        ({"audio": AudioState.SILENT, "audio_dbfs": -30.0}, "audio_dbfs: expected none where audio is silent, got -30"),
        ({"audio": "loud"}, "audio"),
        ({"colour": 1}, "colour"),
        ({"size": "32"}, "size"),
    ],
)
def test_metadata_that_breaks_the_schema_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        SampleMeta(**{**CLIP.meta.to_mapping(), **changes})


@pytest.mark.parametrize("clip_id", ["", "abc", "0" * 16 + ".mp4", "0" * 16 + "/x", "g" * 16])
def test_a_clip_id_that_cannot_name_members_is_refused(clip_id):
    with pytest.raises(ValueError, match="expected 16 hex digits"):
        sample_key(clip_id, 0)


def test_chunks_begin_at_multiples_of_64():
    assert sample_key("0" * 16, 128) == "0" * 16 + "-0002"
    with pytest.raises(ValueError, match="multiples of 64 frames, got 100"):
        sample_key("0" * 16, 100)


def test_a_known_depth_never_turns_unknown():
    depth = np.array([[0, 1e-6, 80]], np.float32)
    data, scale = encode_depth(depth)
    assert (decode_depth(data, scale) > 0).tolist() == [[False, True, True]]


def test_a_frame_without_any_depth_comes_back_empty():
    data, scale = encode_depth(np.zeros((2, 2), np.float32))
    assert not decode_depth(data, scale).any()


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_impossible_depths_are_refused(value):
    with pytest.raises(ValueError, match="expected finite values of at least 0"):
        encode_depth(np.full((2, 2), value, np.float32))


def test_an_unordered_or_infinite_cloud_is_refused():
    positions = np.zeros((2, 3), np.float32)
    pixels = np.zeros((2, 2), np.int16)
    with pytest.raises(ValueError, match="expected the visible points"):
        encode_cloud(HeadCloud(positions, positions, pixels, np.array([0, -1], np.int32)))
    with pytest.raises(ValueError, match="expected finite centimetres"):
        encode_cloud(HeadCloud(positions + np.nan, positions, pixels, np.array([-1, -1], np.int32)))


def test_names_that_ustar_cannot_hold_are_refused():
    with pytest.raises(ValueError, match="at most 100 ASCII characters"):
        tar_entry("0" * 101, b"")
