"""Reading returns the written data, within the errors that docs/shards.md promises."""

import io
import pickle
import zipfile

import cv2
import numpy as np
import pytest

from mggtalk.errors import ShardError
from mggtalk.records import Split
from mggtalk.shards import Shards
from mggtalk.shards.codecs.images import decode_rgb
from mggtalk.shards.codecs.tracks import TRACK_ARRAYS
from mggtalk.shards.schema import rgb_member
from tests.support.shard_samples import make_clip

LONG = make_clip("00000000000000aa-f000000", num_frames=75, geometry_stride=9, audio=b"fLaC chunk", seed=1)
SHORT = make_clip("f0000000000000bb-f000120", split=Split.TEST, valid_box=(4.0, 0.0, 32.0, 27.5))


@pytest.fixture
def shards(tmp_path, write_dataset) -> Shards:
    write_dataset(tmp_path / "shards", [LONG, SHORT])
    return Shards(tmp_path / "shards")


def angles_deg(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    cross = np.linalg.norm(np.cross(first, second), axis=-1)
    angles: np.ndarray = np.degrees(np.arctan2(cross, (first * second).sum(-1)))
    return angles


def test_clips_lists_each_split_sorted_with_frames_numbered_in_the_clip(shards):
    (long,), (short,) = shards.clips("train"), shards.clips(Split.TEST)
    assert shards.clips("val") == ()
    assert shards.clips() == (long, short)
    assert (long.clip_id, long.num_frames, long.source_frames) == (LONG.meta.clip_id, 75, tuple(range(0, 75, 9)))
    assert (short.video_id, short.identity, short.license) == (
        "f0000000000000bb",
        "video:f0000000000000bb",
        "CC-BY-4.0",
    )


@pytest.mark.parametrize("frame", [0, 63, 64, 74])
def test_a_frame_comes_back_on_either_side_of_a_chunk_border(shards, frame):
    head = shards.head_frame(LONG.meta.clip_id, frame)
    assert np.array_equal(head.head_mask, LONG.head_masks[frame])
    assert np.abs(head.image.astype(int) - LONG.rgb[frame]).mean() < 2
    assert head.image[..., 0].mean() == pytest.approx(LONG.rgb[frame, ..., 0].mean(), abs=1)
    assert head.image[..., 2].mean() == pytest.approx(LONG.rgb[frame, ..., 2].mean(), abs=1)
    assert np.array_equal(head.image, shards.image(LONG.meta.clip_id, frame))
    assert np.array_equal(head.landmarks_px, LONG.tracks.landmarks_px[frame])
    assert np.array_equal(head.landmarks, LONG.tracks.landmarks[frame])
    assert np.array_equal(head.expression, LONG.tracks.expression[frame])
    assert np.array_equal(head.head_to_camera, LONG.tracks.head_to_camera[frame])
    assert np.array_equal(head.intrinsics, np.array(LONG.meta.intrinsics, np.float32))


def test_tracks_of_all_chunks_come_back_exactly_and_as_one(shards):
    tracks = shards.tracks(LONG.meta.clip_id)
    for name in TRACK_ARRAYS:
        read, written = getattr(tracks, name), getattr(LONG.tracks, name)
        assert read.dtype == written.dtype, name
        assert np.array_equal(read, written), name


@pytest.mark.parametrize("frame", [9, 63, 72])
def test_depth_is_within_half_a_unit_and_unknown_stays_unknown(shards, frame):
    written = LONG.sources[frame].depth
    read = shards.source_frame(LONG.meta.clip_id, frame).depth
    unit = written.max() / 65535
    # Half a unit, and the rounding of 32-bit floats at 60 cm.
    assert np.abs(read - written).max() <= unit / 2 + 4e-6
    assert np.array_equal(read > 0, written > 0)
    assert read.dtype == np.float32


def test_normals_are_within_half_a_degree_unit_and_unknown_stays_unknown(shards):
    written = LONG.sources[63].normals
    read = shards.source_frame(LONG.meta.clip_id, 63).normals
    known = written.any(-1)
    assert angles_deg(read[known], written[known]).max() <= 0.5
    assert np.allclose(np.linalg.norm(read[known], axis=-1), 1, atol=1e-5)
    assert not read[~known].any()


def test_cloud_keeps_points_pixels_and_origins_and_mirrors_exactly(shards):
    written, read = LONG.sources[9].cloud, shards.cloud(LONG.meta.clip_id, 9)
    assert np.abs(read.positions - written.positions).max() <= 2**-7
    assert angles_deg(read.normals, written.normals).max() <= 0.5
    assert np.array_equal(read.source_pixel, written.source_pixel)
    assert np.array_equal(read.mirrored_of, written.mirrored_of)
    assert read.positions.dtype == read.normals.dtype == np.float32
    mirrored = read.mirrored_of >= 0
    assert np.array_equal(
        read.positions[mirrored], read.positions[read.mirrored_of[mirrored]] * np.array([-1, 1, 1], np.float32)
    )


def test_audio_comes_back_and_a_clip_without_sound_has_none(shards):
    assert [shards.meta(clip.meta.clip_id).audio for clip in (LONG, SHORT)] == ["present", "none"]
    assert shards.audio(LONG.meta.clip_id, 66) == b"fLaC chunk"
    assert shards.audio(SHORT.meta.clip_id, 0) is None


def test_valid_is_what_lies_wholly_in_the_video_frame(shards):
    valid = shards.head_frame(SHORT.meta.clip_id, 0).valid
    expected = np.zeros((32, 32), bool)
    expected[:27, 4:] = True
    assert np.array_equal(valid, expected)


def test_meta_comes_back_with_the_depth_scales_of_its_chunk(shards):
    meta = shards.meta(LONG.meta.clip_id, 64)
    assert (meta.start_frame, meta.num_frames, meta.source_frames) == (64, 11, (8,))
    assert meta.depth_scale == (float(LONG.sources[72].depth.max()) / 65535,)
    first = shards.meta(LONG.meta.clip_id, 0)
    assert first.depth_scale == tuple(float(LONG.sources[frame].depth.max()) / 65535 for frame in first.source_frames)
    assert first.perception == LONG.meta.perception


def test_wrong_requests_say_what_is_there(shards):
    with pytest.raises(ShardError, match="no clip 'abc' among 2"):
        shards.head_frame("abc", 0)
    with pytest.raises(IndexError, match="frame 75 of a clip of 75"):
        shards.image(LONG.meta.clip_id, 75)
    with pytest.raises(IndexError, match="frame -1"):
        shards.image(LONG.meta.clip_id, -1)
    with pytest.raises(ValueError, match="got 33, expected 1 to the stored size, 32"):
        shards.head_frame(LONG.meta.clip_id, 0, 33)
    with pytest.raises(
        ShardError, match=r"member 001\.depth\.png: missing; the sample has geometry for its frames \[0, 9"
    ):
        shards.source_frame(LONG.meta.clip_id, 1)


def read_mean(shards: Shards, frame: int) -> float:
    return float(shards.image(LONG.meta.clip_id, frame).mean())


def test_reader_survives_pickle(shards):
    copy = pickle.loads(pickle.dumps(shards))
    assert [read_mean(copy, frame) for frame in range(4)] == [read_mean(shards, frame) for frame in range(4)]


def test_one_frame_reads_only_the_members_that_it_needs(shards, monkeypatch):
    shards.head_frame(LONG.meta.clip_id, 0)
    sizes = []

    read = shards._storage.read

    def count(name, offset, size):
        sizes.append(size)
        return read(name, offset, size)

    monkeypatch.setattr(shards._storage, "read", count)
    shards.head_frame(LONG.meta.clip_id, 5)
    members = next(iter(LONG.samples())).members
    assert sizes == [len(members["005.rgb.jpg"]), len(members["005.head.png"])]


def test_jpeg_quality_is_a_parameter():
    sizes = []
    for quality in (50, 95):
        sample = next(iter(make_clip("0" * 16, num_frames=1).samples(quality)))
        sizes.append(len(sample.members[rgb_member(0)]))
    assert sizes[0] < sizes[1]


def test_images_are_plain_rgb_jpeg():
    sample = next(iter(SHORT.samples()))
    bgr = cv2.imdecode(np.frombuffer(sample.members["000.rgb.jpg"], np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None
    assert np.array_equal(decode_rgb(sample.members["000.rgb.jpg"]), bgr[..., ::-1])


def test_arrays_need_no_pickle(shards):
    sample = next(iter(LONG.samples()))
    for name in ("tracks.npz", "009.cloud.npz"):
        with np.load(io.BytesIO(sample.members[name]), allow_pickle=False) as archive:
            assert all(archive[array].dtype != object for array in archive.files)


def test_arrays_hold_no_time_and_no_system():
    sample = next(iter(LONG.samples()))
    with zipfile.ZipFile(io.BytesIO(sample.members["tracks.npz"])) as archive:
        members = archive.infolist()
    assert {(m.date_time, m.create_system, m.compress_type) for m in members} == {((1980, 1, 1, 0, 0, 0), 3, 0)}


def test_source_frame_holds_its_head_frame(shards):
    source, head = shards.source_frame(LONG.meta.clip_id, 9, 16), shards.head_frame(LONG.meta.clip_id, 9, 16)
    assert np.array_equal(source.frame.image, head.image)
    assert source.depth.shape == (16, 16)
    assert source.normals.shape == (16, 16, 3)
