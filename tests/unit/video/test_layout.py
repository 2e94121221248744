"""Frames come upright, with square pixels and in one size, for any rotation, aspect ratio and format of the file."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from mggtalk.errors import VideoError
from mggtalk.video import container as containers
from mggtalk.video.decode import open_video
from mggtalk.video.probe import probe
from mggtalk.video.readers import PyAvReader
from tests.support.media import RgbImage, decord_frames, frame_number, numbered_frame, write_video


def disc_frame(number: int, width: int, height: int) -> RgbImage:
    """Return a white disc of half the image's height; pixels that are not square stretch it."""
    y, x = np.mgrid[:height, :width]
    inside = np.hypot(x - width / 2, y - height / 2) < height / 4
    return np.repeat(inside[..., None].astype(np.uint8) * 255, 3, axis=2)


def disc_size(image: RgbImage) -> tuple[int, int]:
    rows, columns = np.nonzero(image[..., 1] > 127)
    return int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize(
    ("aspect", "size"), [(Fraction(2), (320, 96)), (Fraction(1, 2), (160, 192)), (Fraction(4, 3), (213, 96))]
)
def test_pixels_are_made_square_by_stretching(tmp_path: Path, suffix: str, aspect: Fraction, size: tuple[int, int]):
    path = str(write_video(tmp_path / f"a.{suffix}", 3, pixel_aspect=aspect, draw_frame=disc_frame))
    video = open_video(path)
    images = list(video.frames())
    assert (video.width, video.height) == size == (images[0].shape[1], images[0].shape[0])
    probed = probe(path)
    assert (probed.width, probed.height) == size
    width, height = disc_size(images[2])
    assert width / height == pytest.approx(aspect, rel=0.06)


def test_stretched_pixels_are_squared_before_the_turn(tmp_path: Path) -> None:
    video = open_video(str(write_video(tmp_path / "a.mp4", 2, pixel_aspect=Fraction(2), rotation=90)))
    assert (video.width, video.height) == (96, 320)
    assert next(video.frames()).shape == (320, 96, 3)


def test_pixels_that_are_square_but_for_rounding_stay_as_they_are(tmp_path: Path) -> None:
    path = str(write_video(tmp_path / "a.mp4", 2, pixel_aspect=Fraction(405, 406)))
    assert not PyAvReader(path).layout.is_stretched
    assert next(open_video(path).frames()).shape == (96, 160, 3)


def test_pixels_that_cannot_be_are_an_error(tmp_path: Path) -> None:
    path = str(write_video(tmp_path / "a.mp4", 2, pixel_aspect=Fraction(50)))
    with pytest.raises(VideoError, match=r"a\.mp4: pixels of 50:1; expected from 1:4 to 4:1"):
        open_video(path)


def write_sizes(path: Path, sizes: Sequence[tuple[int, int]], frames_each: int) -> Path:
    """Write a video whose frames change their size in the middle, as recordings of calls do."""
    with av.open(str(path), "w") as target:
        stream = target.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = *sizes[0], "yuv420p"
        for part, (width, height) in enumerate(sizes):
            encoder = av.CodecContext.create("mpeg4", "w")
            encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
            encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
            frames = []
            for number in range(part * frames_each, (part + 1) * frames_each):
                frame = av.VideoFrame.from_ndarray(numbered_frame(number, width, height), format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                frames.append(frame)
            for packet in (packet for frame in [*frames, None] for packet in encoder.encode(frame)):
                packet.stream = stream
                target.mux(packet)
    return path


def test_frames_that_change_their_size_are_brought_back_to_the_first(tmp_path: Path) -> None:
    path = str(write_sizes(tmp_path / "a.mkv", [(160, 96), (320, 192), (80, 48)], 8))
    frames = list(PyAvReader(path).frames(range(24)))
    assert {frame.shape for frame in frames} == {(96, 160, 3)}
    assert [frame_number(frame) for frame in frames] == list(range(24))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ten_bit.mkv", {"pixel_format": "yuv420p10le"}),
        ("gray.mkv", {"codec": "ffv1", "pixel_format": "gray"}),
        ("alpha.mkv", {"codec": "ffv1", "pixel_format": "bgra"}),
        ("odd.mkv", {"codec": "ffv1", "width": 161, "height": 97}),
        ("interlaced.mp4", {"options": {"flags": "+ilme+ildct", "x264-params": "tff=1"}}),
    ],
)
def test_unusual_images_come_as_rgb_as_from_decord(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    path = str(write_video(tmp_path / name, 12, **options))
    for number, (ours, theirs) in enumerate(zip(PyAvReader(path).frames(range(12)), decord_frames(path), strict=True)):
        assert frame_number(ours) == frame_number(theirs) == number
        assert np.abs(ours.astype(int) - theirs).mean() < 0.5  # colour between samples is interpolated differently


def test_frames_larger_than_any_video_are_refused_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(write_video(tmp_path / "a.mp4", 2))
    monkeypatch.setattr(containers, "MAX_PIXELS", 160 * 96 - 1)
    for opened in (probe, open_video):
        with pytest.raises(VideoError, match=r"a\.mp4: frames of 160x96; expected at most 15359 pixels"):
            opened(path)


def test_a_size_that_grows_beyond_any_video_on_the_way_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(write_sizes(tmp_path / "a.mkv", [(160, 96), (640, 384)], 8))
    monkeypatch.setattr(containers, "MAX_PIXELS", 320 * 192)
    with pytest.raises(VideoError, match=r"a\.mkv: cannot be decoded"):
        list(PyAvReader(path).frames(range(16)))
