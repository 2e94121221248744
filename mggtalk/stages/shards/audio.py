"""The sound of a tracked clip, cut into the pieces of its samples. What is wrong with it never costs the images."""

import logging
from dataclasses import dataclass

import numpy as np

from mggtalk.errors import VideoError
from mggtalk.records import AudioState, ClipTrack
from mggtalk.video.audio import SAMPLE_RATE_HZ, Samples, encode_flac, is_silent, level_dbfs, read_audio
from mggtalk.video.container import UnsupportedFileError

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class ClipSound:
    """What is to be heard over a clip.

    Attributes:
        samples: the whole clip's, mono at 16 kHz; empty where there is no sound or none that can be decoded.
    """

    state: AudioState
    samples: Samples
    fps: float

    def member(self, start_frame: int, stop_frame: int) -> bytes | None:
        """Return the sound of the frames `start_frame` to `stop_frame` (exclusive) of the clip as FLAC, if any."""
        return encode_flac(self._piece(start_frame, stop_frame)) if self.state.has_member else None

    def level_dbfs(self, start_frame: int, stop_frame: int) -> float | None:
        """Return its level; None for silence, and where there is no sound."""
        return level_dbfs(self._piece(start_frame, stop_frame))

    def _piece(self, start_frame: int, stop_frame: int) -> Samples:
        return self.samples[_place(start_frame, self.fps) : _place(stop_frame, self.fps)]


def clip_sound(record: ClipTrack, first_frame_s: float) -> ClipSound:
    """Return the sound of a clip.

    Args:
        first_frame_s: presentation time of the first frame of the video, or of its interval, at the clip's rate.

    Raises:
        UnsupportedFileError: the file cannot be opened any more.
    """
    nothing = np.empty(0, np.int16)
    begin_s = first_frame_s + record.start_frame / record.fps
    try:
        samples = read_audio(record.video.path, begin_s, begin_s + record.num_frames / record.fps)
    except UnsupportedFileError:
        raise  # its images have just been read: the file is gone, not broken
    except VideoError as failure:
        _logger.warning("%s: its sound is left out: %s", record.clip_id, failure)
        return ClipSound(AudioState.BROKEN, nothing, record.fps)
    if samples is None:
        return ClipSound(AudioState.NONE, nothing, record.fps)
    return ClipSound(AudioState.SILENT if is_silent(samples) else AudioState.PRESENT, samples, record.fps)


def _place(frame: int, fps: float) -> int:
    return round(frame / fps * SAMPLE_RATE_HZ)
