from pathlib import Path

import pytest

from mggtalk.errors import VideoError
from mggtalk.video.container import NoVideoStreamError, UnsupportedFileError
from mggtalk.video.probe import VideoProbe, probe
from tests.support.media import corrupted_copy, tone, write_video


def test_probe_states_what_the_container_states(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mov", 60, fps=30.0, audio=tone(2.0), audio_codec="pcm_s16le")
    assert probe(str(path)) == VideoProbe(160, 96, 30.0, 60, 2.0, has_audio=True, codec="h264")


def test_probe_of_a_container_without_a_frame_count(tmp_path: Path) -> None:
    probed = probe(str(write_video(tmp_path / "a.mkv", 10, codec="mpeg4")))
    assert (probed.num_frames, probed.has_audio, probed.codec) == (0, False, "mpeg4")
    assert probed.duration_s == pytest.approx(0.4, abs=0.01)


def test_rotated_video_has_the_size_of_its_upright_frames(tmp_path: Path) -> None:
    probed = probe(str(write_video(tmp_path / "a.mp4", 2, rotation=90)))
    assert (probed.width, probed.height) == (96, 160)


def test_suffix_does_not_matter(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 5).rename(tmp_path / "http:a")
    assert probe(str(path)).num_frames == 5


def test_relative_path_that_looks_like_a_protocol_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "a.mp4", 5).rename(tmp_path / "concat:a.mp4")
    monkeypatch.chdir(tmp_path)
    assert probe("concat:a.mp4").num_frames == 5


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return write_video(tmp_path / "target.ts", 25)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n"),
        ("list.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", "ffconcat version 1.0\nfile {target}\n"),
        ("notes.txt", "notes"),
        ("empty.mp4", ""),
    ],
)
def test_what_is_no_container_or_points_elsewhere_is_refused(
    tmp_path: Path, target: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content.format(target=target))
    with pytest.raises(UnsupportedFileError, match=name):
        probe(str(tmp_path / name))


@pytest.mark.parametrize("suffix", ["gif", "png"])
def test_images_are_refused(tmp_path: Path, suffix: str) -> None:
    image = pytest.importorskip("PIL.Image").new("RGB", (32, 32))
    image.save(tmp_path / f"a.{suffix}")
    with pytest.raises(UnsupportedFileError, match="its format is none of"):
        probe(str(tmp_path / f"a.{suffix}"))


def test_audio_alone_has_no_video_stream(tmp_path: Path) -> None:
    with pytest.raises(NoVideoStreamError, match=r"a\.wav: no video stream"):
        probe(str(write_wav(tmp_path / "a.wav")))


def test_damaged_first_frame_is_an_error(tmp_path: Path) -> None:
    path = corrupted_copy(write_video(tmp_path / "a.mp4", 30), tmp_path / "b.mp4", 0.02, 0.5)
    with pytest.raises(VideoError, match=r"b\.mp4: "):
        probe(str(path))


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFileError, match=r"gone\.mp4.*No such file"):
        probe(str(tmp_path / "gone.mp4"))


def write_wav(path: Path) -> Path:
    import wave

    with wave.open(str(path), "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(16_000)
        wav.writeframes(bytes(3200))
    return path
