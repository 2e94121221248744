import io
from pathlib import Path

import av
import numpy as np
import pytest

from mggtalk.errors import VideoError
from mggtalk.video.audio import SAMPLE_RATE_HZ, Samples, encode_flac, is_silent, level_dbfs, read_audio
from mggtalk.video.decode import open_video
from tests.support.media import corrupted_copy, tone, write_video


def extracted(path: Path, start_s: float, end_s: float) -> Samples:
    samples = read_audio(str(path), start_s, end_s)
    assert samples is not None
    return samples


def as_int16(samples: np.ndarray) -> Samples:
    return np.round(samples * 32767).astype(np.int16)


@pytest.mark.parametrize("suffix", ["mov", "mkv"])
def test_lossless_audio_comes_back_sample_by_sample(tmp_path: Path, suffix: str) -> None:
    audio = tone(4.0, frequency_hz=233.0)
    path = write_video(tmp_path / f"a.{suffix}", 100, audio=audio, audio_codec="pcm_s16le")
    np.testing.assert_array_equal(extracted(path, 0.0, 4.0), as_int16(audio))
    for start_s, end_s in [(0.5, 1.0), (2.0, 3.3), (3.0, 4.0)]:
        expected = as_int16(audio)[round(start_s * SAMPLE_RATE_HZ) : round(end_s * SAMPLE_RATE_HZ)]
        np.testing.assert_array_equal(extracted(path, start_s, end_s), expected)


def test_audio_that_starts_late_and_ends_early_is_padded_with_silence(tmp_path: Path) -> None:
    audio = tone(0.5)
    path = write_video(tmp_path / "a.mkv", 50, audio=audio, audio_codec="pcm_s16le", audio_start_s=0.7)
    samples = extracted(path, 0.2, 1.9)
    assert len(samples) == round(1.7 * SAMPLE_RATE_HZ)
    np.testing.assert_array_equal(samples[8000:16000], as_int16(audio))
    assert not samples[:8000].any()
    assert not samples[16000:].any()


def test_before_the_container_begins_there_is_silence(tmp_path: Path) -> None:
    audio = tone(1.0)
    path = write_video(tmp_path / "a.mov", 50, audio=audio, audio_codec="pcm_s16le")
    samples = extracted(path, -0.25, 0.5)
    assert not samples[:4000].any()
    np.testing.assert_array_equal(samples[4000:], as_int16(audio)[:8000])


def test_interval_without_any_audio_is_silent(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mov", 50, audio=tone(0.5), audio_codec="pcm_s16le")
    samples = extracted(path, 1.0, 1.5)
    assert len(samples) == 8000
    assert not samples.any()


@pytest.mark.parametrize("suffix", ["mp4", "ts"])
def test_lossy_audio_keeps_its_position(tmp_path: Path, suffix: str) -> None:
    click = np.zeros(3 * SAMPLE_RATE_HZ, np.float32)
    click[32_000:32_800] = tone(0.05, 1000.0)
    path = write_video(tmp_path / f"a.{suffix}", 75, audio=click)
    # A transport stream starts with the AAC encoder's run-in, before its first frame.
    first_frame_s = open_video(str(path)).times_s[0]
    loud = np.flatnonzero(np.abs(extracted(path, first_frame_s + 1.5, first_frame_s + 3.0).astype(int)) > 4000)
    assert loud[0] == pytest.approx(8000, abs=400)
    assert loud[-1] == pytest.approx(8800, abs=400)


@pytest.mark.parametrize("end_s", [1.00003, 1.0001, 0.3333])
def test_length_is_that_of_the_interval(tmp_path: Path, end_s: float) -> None:
    path = write_video(tmp_path / "a.mp4", 50, audio=tone(2.0))
    assert len(extracted(path, 0.1, end_s)) == round((end_s - 0.1) * SAMPLE_RATE_HZ)


def test_flac_is_lossless_and_the_same_bytes_without_versions() -> None:
    audio = as_int16(tone(1.7))
    content = encode_flac(audio)
    assert content == encode_flac(audio)
    assert b"Lav" not in content
    with av.open(io.BytesIO(content), "r") as container:
        stream = container.streams.audio[0]
        assert (container.format.name, stream.rate, stream.layout.name) == ("flac", SAMPLE_RATE_HZ, "mono")
        assert stream.format.name == "s16"
        decoded = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(stream)])
    np.testing.assert_array_equal(decoded, audio)


def test_a_stream_that_changes_its_format_in_the_middle_keeps_its_position(tmp_path: Path) -> None:
    """Two transport streams, one after the other: 48 kHz, then 16 kHz."""
    joined = tmp_path / "joined.ts"
    for start_s, rate_hz in ((1.0, 48_000), (3.0, SAMPLE_RATE_HZ)):
        click = np.zeros(2 * rate_hz, np.float32)
        click[rate_hz : rate_hz + rate_hz // 20] = 0.5 * np.sin(np.arange(rate_hz // 20) * 2 * np.pi * 1000 / rate_hz)
        part = write_video(
            tmp_path / f"{rate_hz}.ts",
            times_s=(start_s + np.arange(50) / 25).tolist(),
            audio=click,
            audio_start_s=start_s,
            audio_rate_hz=rate_hz,
        )
        with joined.open("ab") as whole:
            whole.write(part.read_bytes())
    loud = np.flatnonzero(np.abs(extracted(joined, 0.0, 4.5).astype(int)) > 4000) / SAMPLE_RATE_HZ
    begins = loud[np.diff(loud, prepend=-1.0) > 0.5]
    run_in_s = 1024 / 48_000  # of the AAC encoder, with which the first file starts
    assert begins == pytest.approx([1.0 + run_in_s, 3.0 + run_in_s], abs=0.005)


def test_the_level_is_that_of_the_root_mean_square() -> None:
    assert level_dbfs(as_int16(tone(1.0, amplitude=1.0))) == pytest.approx(-3.01, abs=0.01)
    assert level_dbfs(as_int16(tone(1.0, amplitude=0.01))) == pytest.approx(-43.01, abs=0.01)
    assert level_dbfs(np.array([-32768], np.int16)) == 0.0


def test_a_bit_of_dither_is_silence_and_two_are_not() -> None:
    dither = np.array([0, 1, -1, 0], np.int16)
    assert is_silent(dither)
    assert level_dbfs(dither) is None
    assert not is_silent(2 * dither)
    assert level_dbfs(2 * dither) == pytest.approx(-87.3, abs=0.1)


def test_video_without_audio_gives_none(tmp_path: Path) -> None:
    assert read_audio(str(write_video(tmp_path / "a.mp4", 5)), 0.0, 0.2) is None


def test_damaged_audio_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = write_video(tmp_path / "a.mp4", 2, audio=rng.uniform(-0.9, 0.9, 48_000).astype(np.float32))
    damaged = corrupted_copy(path, tmp_path / "b.mp4", 0.3, 0.8)
    with pytest.raises(VideoError, match=r"b\.mp4: cannot be decoded"):
        read_audio(str(damaged), 0.0, 3.0)


@pytest.mark.parametrize(("start_s", "end_s"), [(1.0, 1.0), (float("-inf"), 1.0), (0.0, float("inf"))])
def test_interval_must_be_finite_and_not_empty(tmp_path: Path, start_s: float, end_s: float) -> None:
    with pytest.raises(ValueError, match="expected start < end, both finite"):
        read_audio(str(tmp_path / "a.mp4"), start_s, end_s)
