"""`verify` compares a member to the sample's metadata, and does not only decode it."""

import io
from dataclasses import replace

import av
import numpy as np
import pytest

from mggtalk.records import HeadCloud, ShardSample
from mggtalk.shards import SampleMeta, encode_cloud
from mggtalk.shards.codecs.tracks import encode_tracks
from mggtalk.shards.verify.member_check import check_member
from mggtalk.video.audio import encode_flac
from tests.support.shard_samples import make_clip

MADE = make_clip("ab" * 8, size=8, audio=encode_flac(np.zeros(1920, np.int16)))
SAMPLE: ShardSample = next(MADE.samples())
META = SampleMeta(**SAMPLE.meta)


def tracks_with(**arrays: np.ndarray) -> bytes:
    return encode_tracks(replace(MADE.tracks, **arrays))


def test_what_the_encoder_makes_passes():
    for name, data in SAMPLE.members.items():
        check_member(name, data, META)


@pytest.mark.parametrize(
    ("name", "meta", "message"),
    [
        ("000.depth.png", replace(META, depth_scale=(0.0, 1.0)), "no depth scale above 0"),
        ("002.depth.png", replace(META, depth_scale=META.depth_scale[:1]), "no depth scale above 0"),
        ("tracks.npz", replace(META, num_frames=2, clip_num_frames=2, source_frames=(0,)), "tracks of 3 frames"),
        ("tracks.npz", replace(META, expression_names=("jawOpen",)), "expression: 2 numbers, expected 1"),
        ("audio.flac", replace(META, fps=30.0), "1920 audio samples, expected 1600"),
        ("000.cloud.npz", replace(META, size=4), "source_pixel: expected 0 to 3"),
        ("000.rgb.jpg", replace(META, size=4), "got shape"),
        ("000.head.png", replace(META, size=4), "got shape"),
        ("000.normal.png", replace(META, size=4), "got shape"),
        ("000.depth.png", replace(META, size=4), "got shape"),
    ],
)
def test_what_does_not_fit_the_metadata_is_refused(name, meta, message):
    with pytest.raises(ValueError, match=message):
        check_member(name, SAMPLE.members[name], meta)


def test_numbers_that_are_none_are_refused():
    landmarks = MADE.tracks.landmarks.copy()
    landmarks[1, 2, 0] = np.nan
    with pytest.raises(ValueError, match="landmarks: not finite"):
        check_member("tracks.npz", tracks_with(landmarks=landmarks), META)
    sharpness = np.full(3, np.inf, np.float32)
    with pytest.raises(ValueError, match="sharpness: not finite"):
        check_member("tracks.npz", tracks_with(sharpness=sharpness), META)


def test_a_pixel_left_of_the_image_is_refused():
    cloud = MADE.sources[0].cloud
    pixels = cloud.source_pixel.copy()
    pixels[0, 0] = -1
    data = encode_cloud(HeadCloud(cloud.positions, cloud.normals, pixels, cloud.mirrored_of))
    with pytest.raises(ValueError, match="source_pixel"):
        check_member("000.cloud.npz", data, META)


def test_sound_of_another_rate_or_layout_is_refused():
    target = io.BytesIO()
    with av.open(target, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=32_000, layout="stereo")
        stream.codec_context.format = "s16"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 3840), np.int16), format="s16", layout="stereo")
        frame.sample_rate = 32_000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    with pytest.raises(ValueError, match="audio of 32000 Hz, stereo; expected 16000 Hz, mono"):
        check_member("audio.flac", target.getvalue(), META)
