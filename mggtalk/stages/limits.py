"""Limits on what one record may take, and which rejections a rerun tries again.

A limit tells a broken record from a slow one. Deadlines are generous, because a hang is found by the missing signs of
life, not by the deadline.
"""

import logging
import math
from collections.abc import Collection
from typing import Protocol

from mggtalk.records import ClipTrack, Rejected, RejectReason, VideoRecord
from mggtalk.stages.ingest.probe import VideoFile

_logger = logging.getLogger(__name__)

MEMORY_LIMIT_BYTES = 4 << 30
"""Tracking or sharding a clip takes about 1 GB without networks; what decoders eat up on broken files has no bound."""

DEPENDS_ON_MACHINE = frozenset(
    {RejectReason.MISSING_FILE, RejectReason.DECODE_TIMEOUT, RejectReason.CRASHED, RejectReason.OUT_OF_MEMORY}
)
"""Rejections that a rerun tries again, because a busy machine or a disk that is not mounted may be the reason."""

STALL_S = 120.0
"""Longest time without a sign of life, which comes with every frame: what one hang costs."""

_PER_FILE_S = 120.0
_PER_FRAME_S = 0.5
"""40 times what a frame takes on one core."""
_PER_MEGABYTE_S = 2.0
"""To probe and hash a file: a slow network disk reads 1 MB/s."""
_LEAST_FRAME_BYTES = 16
"""A frame that repeats the last one takes about as much, with its entry in the container's tables."""


def file_deadline_s(file: VideoFile) -> float:
    """Return the seconds to probe and hash a file, whose bytes may come from a slow network disk."""
    return _PER_FILE_S + _PER_MEGABYTE_S * file.size_bytes / 1e6


def video_deadline_s(record: VideoRecord) -> float:
    """Return the seconds to track a video: by its stated frames, but no more of them than its bytes can hold."""
    stated = max(record.num_frames, record.duration_s * record.fps) or math.inf
    num_frames = min(stated, record.size_bytes / _LEAST_FRAME_BYTES)
    return _PER_FILE_S + _PER_MEGABYTE_S * record.size_bytes / 1e6 + _PER_FRAME_S * num_frames


class OfVideo(Protocol):
    """A record that is worked on in the file of a video."""

    @property
    def video(self) -> VideoRecord:
        """The video."""


def part_deadline_s(record: OfVideo) -> float:
    """Return the seconds to work on a part of a video; decoding may have to begin at the start of the video."""
    return video_deadline_s(record.video)


def clip_deadline_s(record: ClipTrack, seconds_per_frame: float = 0.0) -> float:
    """Return the seconds to make a clip's samples; decoding may have to begin at the start of the video.

    Args:
        seconds_per_frame: added for networks.
    """
    return video_deadline_s(record.video) + (_PER_FRAME_S + seconds_per_frame) * record.num_frames


def is_retried(rejected: Rejected, stage: str, reasons: Collection[RejectReason] = DEPENDS_ON_MACHINE) -> bool:
    """Tell whether the next run tries again, because the rejection is for one of `reasons`; warn if so."""
    if rejected.reason not in reasons:
        return False
    _logger.warning("%s: %s: %s: %s; the next run tries again", stage, rejected.key, rejected.reason, rejected.detail)
    return True
