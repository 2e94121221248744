from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from mggtalk import heartbeat
from mggtalk.errors import VideoError
from mggtalk.video.decode import ResampledVideo, open_video
from mggtalk.video.readers import PyAvReader
from tests.support.media import (
    RgbImage,
    corrupted_copy,
    decord_frames,
    frame_number,
    numbered_frame,
    truncated_copy,
    write_video,
)


def numbers(video: ResampledVideo, start: int = 0, stop: int | None = None) -> list[int]:
    return [frame_number(frame) for frame in video.frames(start, stop)]


def noisy_frame(number: int, width: int, height: int) -> RgbImage:
    image = numbered_frame(number, width, height)
    noise = np.random.default_rng(number).integers(0, 255, (height - height // 2, width, 3), dtype=np.uint8)
    image[height // 2 :] = noise
    return image


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "libx264"), ("mp4", "mpeg4"), ("mkv", "libx264")])
def test_frames_from_any_start_are_those_that_decord_gives(tmp_path: Path, suffix: str, codec: str) -> None:
    path = str(write_video(tmp_path / f"a.{suffix}", 40, codec=codec, draw_frame=noisy_frame))
    expected = decord_frames(path)
    for indices in (range(40), range(0, 40, 3), [13, 14, 30], [39]):
        for ours, index in zip(PyAvReader(path).frames(indices), indices, strict=True):
            assert np.abs(ours.astype(int) - expected[index]).max() <= 2
            assert frame_number(ours) == index


def test_resampling_to_a_lower_rate_drops_frames_by_time(tmp_path: Path) -> None:
    video = open_video(str(write_video(tmp_path / "a.mp4", 30, fps=30.0)), fps=25.0)
    assert video.num_frames == 25
    assert (video.width, video.height) == (160, 96)
    assert numbers(video) == video.frame_index.tolist()
    np.testing.assert_allclose(video.times_s, video.frame_index / 30, atol=1e-4)
    assert video.frame_index[:8].tolist() == [0, 1, 2, 4, 5, 6, 7, 8]


def test_variable_rate_video_follows_its_timestamps(tmp_path: Path) -> None:
    video = open_video(str(write_video(tmp_path / "a.mp4", times_s=[0.0, 0.02, 0.04, 0.22, 0.24])), fps=25.0)
    assert numbers(video) == [0, 2, 2, 2, 3, 3, 4]


def test_repeated_frames_are_separate_images(tmp_path: Path) -> None:
    video = open_video(str(write_video(tmp_path / "a.mp4", 3, fps=5.0)), fps=25.0)
    first, second, *_ = video.frames()
    second[:] = 0
    assert frame_number(first) == 0
    assert first.max() > 100
    assert numbers(video) == [0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2]


def test_interval_starts_at_its_first_frame_and_ends_before_its_end(tmp_path: Path) -> None:
    path = str(write_video(tmp_path / "a.mp4", 50))
    video = open_video(path, start_s=0.41, end_s=1.0)
    assert numbers(video) == list(range(11, 25))
    assert numbers(video, 5, 8) == [16, 17, 18]
    assert video.times_s[0] == pytest.approx(0.44)


def test_interval_outside_the_video_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = str(write_video(tmp_path / "a.mp4", 5))
    with pytest.raises(VideoError, match=r"a\.mp4: no frame from 9\.000 to 10\.000 s; the last is at 0\.160 s"):
        open_video(path, start_s=9.0, end_s=10.0)


@pytest.mark.parametrize("suffix", ["ts", "mpg", "avi", "flv"])
def test_containers_without_an_index_give_every_frame(tmp_path: Path, suffix: str) -> None:
    codec = {"mpg": "mpeg2video", "avi": "mpeg4"}.get(suffix, "libx264")
    video = open_video(str(write_video(tmp_path / f"a.{suffix}", 40, codec=codec)))
    assert numbers(video) == list(range(40))
    assert numbers(video, 30, 33) == [30, 31, 32]
    assert video.times_s[0] == pytest.approx(0.0, abs=0.1)


def test_timestamps_that_run_backwards_are_an_error(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", 40, codec="libx264")
    with pytest.raises(VideoError, match=r"a\.avi: its timestamps run backwards"):
        open_video(str(path))


@pytest.mark.parametrize(("rotation", "turns"), [(90, 1), (180, 2), (270, 3)])
def test_rotated_video_comes_upright(tmp_path: Path, rotation: int, turns: int) -> None:
    upright = next(open_video(str(write_video(tmp_path / "a.mp4", 2))).frames())
    video = open_video(str(write_video(tmp_path / "b.mp4", 2, rotation=rotation)))
    image = next(video.frames())
    np.testing.assert_array_equal(image, np.rot90(upright, turns))
    assert image.shape == (video.height, video.width, 3)
    assert image.flags.c_contiguous


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", {"x264-params": "open-gop=1:keyint=12:min-keyint=12:bframes=3"}),
        ("libx265", {"x265-params": "open-gop=1:keyint=12:min-keyint=12:bframes=3:log-level=none:pools=none"}),
        ("mpeg4", {}),
    ],
)
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_every_frame_can_be_the_first(tmp_path: Path, suffix: str, codec: str, options: dict[str, str]) -> None:
    path = str(write_video(tmp_path / f"a.{suffix}", 30, codec=codec, options=options, draw_frame=noisy_frame))
    whole = list(PyAvReader(path).frames(range(30)))
    for first in range(30):
        (frame,) = PyAvReader(path).frames([first])
        np.testing.assert_array_equal(frame, whole[first])


@pytest.mark.parametrize("suffix", ["mp4", "ts"])
def test_calls_in_any_order_give_the_frames_asked_for(tmp_path: Path, suffix: str) -> None:
    reader = PyAvReader(str(write_video(tmp_path / f"a.{suffix}", 300)))
    for indices in (range(5), range(5, 9), [3], [4, 290], [291], range(0, 300, 50), [299]):
        assert [frame_number(frame) for frame in reader.frames(indices)] == list(indices)


def test_every_frame_is_a_sign_of_life(tmp_path: Path) -> None:
    video = open_video(str(write_video(tmp_path / "a.mp4", 3, fps=5.0)), fps=25.0)
    beats: list[int] = []
    heartbeat.listen(lambda: beats.append(1))
    try:
        seen = [len(beats) for _ in video.frames()]
    finally:
        heartbeat.listen(lambda: None)
    assert len(seen) == 15
    assert all(later > earlier for earlier, later in pairwise(seen))


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "libx264"), ("ts", "libx264")])
def test_opening_reads_all_timestamps_with_signs_of_life(tmp_path: Path, suffix: str, codec: str) -> None:
    path = str(write_video(tmp_path / f"a.{suffix}", 40, codec=codec))
    beats: list[int] = []
    heartbeat.listen(lambda: beats.append(1))
    try:
        PyAvReader(path)
    finally:
        heartbeat.listen(lambda: None)
    assert len(beats) >= 40


def test_timestamps_that_let_a_few_frames_last_for_days_are_an_error(tmp_path: Path) -> None:
    path = str(write_video(tmp_path / "a.mkv", times_s=[0.0, 0.04, 0.08, 90_000.0]))
    with pytest.raises(VideoError, match=r"a\.mkv: 4 frames last 90000 s; expected at least one a second"):
        open_video(path)
    assert open_video(path, end_s=1.0).num_frames == 3


def test_damaged_frames_are_an_error_after_the_frames_before_them(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 60, draw_frame=noisy_frame)
    damaged = corrupted_copy(path, tmp_path / "damaged.mp4", 0.5, 0.6)
    decoded: list[int] = []
    numbered = map(frame_number, open_video(str(damaged)).frames())
    with pytest.raises(VideoError, match=r"damaged\.mp4: "):
        decoded.extend(numbered)
    assert 5 < len(decoded) < 60
    assert decoded == list(range(len(decoded)))


def test_truncated_video_ends_where_its_bytes_end(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", 60, draw_frame=noisy_frame)
    video = open_video(str(truncated_copy(path, tmp_path / "half.mkv", 0.5)))
    assert 20 < video.num_frames < 40
    assert numbers(video) == list(range(video.num_frames))
