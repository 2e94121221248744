"""Sound beside pictures: a beep has to be where its flash is, whatever the container does to time."""

import io
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from mggtalk.records import AudioState, ClipTrack
from mggtalk.stages.shards.audio import ClipSound, clip_sound
from mggtalk.video.audio import SAMPLE_RATE_HZ
from mggtalk.video.container import UnsupportedFileError
from mggtalk.video.decode import open_video
from tests.support.footage import bare_clip, record_of
from tests.support.media import corrupted_copy, tone, write_video

_logger = logging.getLogger(__name__)

FPS = 25.0
DURATION_S = 6.0
SIGNALS_S = (0.52, 1.6, 2.76, 3.92, 5.2)
SIGNAL_S = 0.08  # shown as two frames, at least one in another rate


@dataclass(frozen=True)
class Case:
    """A kind of file.

    Attributes:
        video_start_s, audio_start_s: when the streams begin. rates: of their own, frames and samples a second.
        jitter_s: of the frames' times.
    """

    suffix: str
    codecs: tuple[str, str] = ("libx264", "aac")
    rates: tuple[float, int] = (25.0, 44_100)
    video_start_s: float = 0.0
    audio_start_s: float = 0.0
    jitter_s: float = 0.0


CASES = {
    "mp4": Case("mp4"),
    "mp4, sound begins late": Case("mp4", audio_start_s=0.4),
    "mp4, picture begins late": Case("mp4", video_start_s=0.44),
    "mp4, 30 frames a second": Case("mp4", rates=(30.0, 48_000)),
    "mp4, variable frame rate": Case("mp4", jitter_s=0.025),
    "mov, PCM": Case("mov", ("libx264", "pcm_s16le"), (25.0, 16_000)),
    "mkv, Opus": Case("mkv", ("libx264", "libopus"), (25.0, 48_000)),
    "mkv, Opus, sound begins late": Case("mkv", ("libx264", "libopus"), (25.0, 48_000), audio_start_s=0.4),
    "webm": Case("webm", ("libvpx-vp9", "libopus"), (25.0, 48_000)),
    "mpeg program stream": Case("mpg", ("mpeg1video", "mp2")),
    "mpeg transport stream": Case("ts"),
    "avi": Case("avi", ("mpeg4", "libmp3lame")),
}


def write_signals(path: Path, case: Case) -> Path:
    """Write a dark video that flashes and beeps at each of SIGNALS_S."""
    fps, rate_hz = case.rates
    count = round((DURATION_S - case.video_start_s) * fps)
    random = np.random.default_rng(0)
    times = case.video_start_s + np.arange(count) / fps + random.uniform(0, case.jitter_s, count)
    begins_s = [times[np.abs(times - signal_s).argmin()] for signal_s in SIGNALS_S]
    sample_s = case.audio_start_s + np.arange(round((DURATION_S - case.audio_start_s) * rate_hz)) / rate_hz
    flashing, beeping = (
        np.any([(at_s >= begin_s) & (at_s < begin_s + SIGNAL_S) for begin_s in begins_s], axis=0)
        for at_s in (times, sample_s)
    )

    def picture(number: int, width: int, height: int) -> np.ndarray:
        return np.full((height, width, 3), 235 if flashing[number] else 16, np.uint8)

    return write_video(
        path,
        fps=fps,
        codec=case.codecs[0],
        times_s=times.tolist(),
        audio=(beeping * 0.5 * np.sin(2 * np.pi * 1000 * sample_s)).astype(np.float32),
        audio_codec=case.codecs[1],
        audio_start_s=case.audio_start_s,
        audio_rate_hz=rate_hz,
        draw_frame=picture,
    )


def clip_of(path: Path, start_frame: int, num_frames: int, fps: float = FPS, **fields: Any) -> ClipTrack:
    return bare_clip(record_of(path, has_audio=True, **fields), start_frame, num_frames, fps=fps)


def seen_and_heard(clip: ClipTrack) -> tuple[Sequence[int], Sequence[float]]:
    """The frames of the clip that flash, and the places, in frames, at which beeps begin."""
    video = open_video(clip.video.path, clip.fps, clip.video.start_s, clip.video.end_s)
    images = video.frames(clip.start_frame, clip.start_frame + clip.num_frames)
    bright = np.array([image.mean() > 128 for image in images])
    sound = clip_sound(clip, float(video.times_s[0]))
    assert sound.state is AudioState.PRESENT
    loud = np.flatnonzero(np.abs(sound.samples.astype(int)) > 3000) / SAMPLE_RATE_HZ
    begins = loud[np.diff(loud, prepend=-1.0) > SIGNAL_S]
    first_of_each = bright & ~np.concatenate([[False], bright[:-1]])
    return np.flatnonzero(first_of_each).tolist(), (begins * clip.fps).tolist()


@pytest.fixture(scope="module", params=CASES)
def signals(request, tmp_path_factory) -> Path:
    case = CASES[request.param]
    return write_signals(tmp_path_factory.mktemp("signals") / f"signals.{case.suffix}", case)


@pytest.mark.parametrize(
    ("start_frame", "num_frames", "interval_s"),
    [(0, 60, (0.0, math.inf)), (55, 60, (0.0, math.inf)), (20, 70, (2.1, 5.9))],
    ids=["from the start", "from the middle", "of an interval"],
)
def test_a_beep_is_heard_within_a_frame_of_its_flash(signals, start_frame, num_frames, interval_s):
    clip = clip_of(signals, start_frame, num_frames, start_s=interval_s[0], end_s=interval_s[1])
    flashes, beeps = seen_and_heard(clip)
    assert len(flashes) >= 2
    _logger.info("%s: beeps after their flashes by %s frames", signals.name, np.round(np.subtract(beeps, flashes), 3))
    assert beeps == pytest.approx(flashes, abs=1.0)


def test_pieces_make_up_the_whole_without_a_seam(tmp_path):
    path = write_video(tmp_path / "a.mov", 100, audio=tone(4.0), audio_codec="pcm_s16le")
    sound = clip_sound(clip_of(path, 3, 95, fps=29.97), 0.0)
    pieces = [sound.member(start, min(start + 32, 95)) for start in range(0, 95, 32)]
    np.testing.assert_array_equal(np.concatenate([decoded(piece) for piece in pieces]), sound.samples)
    assert len(sound.samples) == round(95 / 29.97 * SAMPLE_RATE_HZ)


def decoded(member: bytes | None) -> np.ndarray:
    assert member is not None
    with av.open(io.BytesIO(member), "r") as container:
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


def test_every_piece_has_its_own_level(tmp_path):
    sound = np.concatenate([tone(1.0, amplitude=1.0), tone(1.0, amplitude=0.1), np.zeros(SAMPLE_RATE_HZ, np.float32)])
    path = write_video(tmp_path / "a.mov", 75, audio=sound, audio_codec="pcm_s16le")
    whole = clip_sound(clip_of(path, 0, 75), 0.0)
    assert whole.state is AudioState.PRESENT
    levels = [whole.level_dbfs(start, start + 25) for start in (0, 25, 50)]
    assert levels == [pytest.approx(-3.01, abs=0.01), pytest.approx(-23.01, abs=0.01), None]


def test_a_silent_stream_is_told_from_none_and_from_faint_sound(tmp_path):
    silence = np.zeros(2 * SAMPLE_RATE_HZ, np.float32)
    silent = sound_of(write_video(tmp_path / "silent.mp4", 50, audio=silence))
    assert (silent.state, silent.level_dbfs(0, 50)) == (AudioState.SILENT, None)
    assert not decoded(silent.member(0, 50)).any()
    faint = sound_of(write_video(tmp_path / "faint.mp4", 50, audio=tone(2.0, amplitude=0.003)))
    assert faint.state is AudioState.PRESENT
    assert faint.level_dbfs(0, 50) == pytest.approx(-53.5, abs=0.5)
    none = sound_of(write_video(tmp_path / "none.mp4", 50))
    assert (none.state, none.member(0, 50), none.level_dbfs(0, 50)) == (AudioState.NONE, None, None)


def sound_of(path: Path) -> ClipSound:
    return clip_sound(clip_of(path, 0, 50), 0.0)


def test_a_clip_before_the_sound_begins_is_silent(tmp_path):
    path = write_video(tmp_path / "a.mkv", 75, audio=tone(0.9), audio_codec="pcm_s16le", audio_start_s=2.1)
    assert sound_of(path).state is AudioState.SILENT


def test_sound_that_cannot_be_decoded_is_left_out_and_said_to_be_broken(tmp_path, caplog):
    rng = np.random.default_rng(0)
    path = write_video(tmp_path / "a.mp4", 2, audio=rng.uniform(-0.9, 0.9, 48_000).astype(np.float32))
    sound = sound_of(corrupted_copy(path, tmp_path / "b.mp4", 0.3, 0.8))
    assert (sound.state, sound.member(0, 50), sound.level_dbfs(0, 50)) == (AudioState.BROKEN, None, None)
    assert "0123456789abcdef-f000000: its sound is left out" in caplog.text


def test_a_codec_that_nothing_decodes_is_broken_sound(tmp_path):
    path = write_video(tmp_path / "a.mkv", 50, audio=tone(2.0), audio_codec="pcm_s16le")
    path.write_bytes(path.read_bytes().replace(b"A_PCM/INT/LIT", b"A_XYZ/INT/LIT"))
    assert sound_of(path).state is AudioState.BROKEN


def test_damage_elsewhere_costs_a_clip_nothing(tmp_path):
    """Sound is read from a second before the clip on, also where the container has no index."""
    rng = np.random.default_rng(0)
    noise = rng.uniform(-0.9, 0.9, 6 * SAMPLE_RATE_HZ).astype(np.float32)
    path = write_video(tmp_path / "a.mp4", 2, audio=noise)
    damaged = corrupted_copy(path, tmp_path / "b.mp4", 0.1, 0.2)
    assert clip_sound(clip_of(damaged, 0, 140), 0.0).state is AudioState.BROKEN
    late = [clip_sound(clip_of(file, 100, 40), 0.0) for file in (path, damaged)]
    np.testing.assert_array_equal(late[0].samples, late[1].samples)
    assert late[1].state is AudioState.PRESENT


def test_a_file_that_is_gone_is_no_broken_sound(tmp_path):
    path = write_video(tmp_path / "a.mp4", 5)
    clip = clip_of(path, 0, 5)
    path.unlink()
    with pytest.raises(UnsupportedFileError):
        clip_sound(clip, 0.0)
