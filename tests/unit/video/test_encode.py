from pathlib import Path

import av
import numpy as np
import pytest

from mggtalk.errors import VideoError
from mggtalk.video.decode import open_video
from mggtalk.video.encode import write_mp4
from tests.support.media import frame_number, numbered_frame


def test_written_video_plays_in_browsers_and_shows_its_frames(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_mp4(path, (numbered_frame(number) for number in range(30)), fps=25.0)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert float(stream.average_rate or 0) == 25.0
        assert (stream.codec_context.colorspace, stream.codec_context.color_range) == (5, 1)  # BT.601, 16 to 235
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    frames = list(open_video(str(path)).frames())
    assert [frame_number(frame) for frame in frames] == list(range(30))
    assert np.abs(frames[7].astype(int) - numbered_frame(7)).mean() < 4
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


def test_odd_sizes_gain_a_row_and_a_column(tmp_path: Path) -> None:
    image = np.full((33, 51, 3), (200, 90, 40), np.uint8)
    write_mp4(tmp_path / "a.mp4", [image], fps=25.0)
    (frame,) = open_video(str(tmp_path / "a.mp4")).frames()
    assert frame.shape == (34, 52, 3)
    assert np.abs(frame.astype(int) - (200, 90, 40)).max() <= 4


def test_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_mp4(tmp_path / name, [numbered_frame(number) for number in range(5)], fps=29.97)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_no_frames_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"a\.mp4: cannot be written: no frames"):
        write_mp4(tmp_path / "a.mp4", [], fps=25.0)


def test_failure_leaves_no_file(tmp_path: Path) -> None:
    frames = [numbered_frame(0), numbered_frame(1, width=80)]
    with pytest.raises(ValueError, match=r"frame 1 is \(96, 80, 3\); expected \(96, 160, 3\)"):
        write_mp4(tmp_path / "a.mp4", frames, fps=25.0)
    assert not list(tmp_path.iterdir())
