"""How long a record may take and how much memory it may use before it counts as broken."""

from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import TypeVar

from mggtalk.records import ClipTrack, Rejected, RejectReason, Stage, VideoRecord
from mggtalk.runtime.isolation import Isolated

RecordT = TypeVar("RecordT")
OutputT = TypeVar("OutputT")

MEMORY_LIMIT_BYTES = 4 << 30
"""Tracking or sharding a clip takes about 1 GB; what decoders are known to eat up on broken files has no bound."""

DEPENDS_ON_MACHINE = frozenset({RejectReason.DECODE_TIMEOUT, RejectReason.CRASHED, RejectReason.OUT_OF_MEMORY})
"""Rejections that a rerun tries again: a busy machine may be why."""

_PER_FILE_S = 120.0
_PER_FRAME_S = 0.5
"""40 times what a frame takes on one core."""
_UNKNOWN_LENGTH_S = 3600.0


def isolated(
    factory: Callable[[], Stage[RecordT, OutputT]], key: str, deadline_s: Callable[[RecordT], float]
) -> Callable[[], Isolated[RecordT, OutputT]]:
    """Return a factory of the stage in a process of its own; `key` is the attribute that names a record."""
    return partial(Isolated, factory, attrgetter(key), deadline_s, MEMORY_LIMIT_BYTES)


def file_deadline_s(_: object) -> float:
    """Return the seconds to probe and hash a file."""
    return _UNKNOWN_LENGTH_S


def video_deadline_s(record: VideoRecord) -> float:
    """Return the seconds to track a video; its container need not state a length."""
    return _PER_FILE_S + _PER_FRAME_S * record.num_frames if record.num_frames else _UNKNOWN_LENGTH_S


def clip_deadline_s(record: ClipTrack) -> float:
    """Return the seconds to make a clip's samples; decoding may have to begin at the start of the video."""
    return video_deadline_s(record.video) + _PER_FRAME_S * record.num_frames


def depends_on_machine(result: object) -> bool:
    """Tell whether a result may be another when the same work is done again."""
    return isinstance(result, Rejected) and result.reason in DEPENDS_ON_MACHINE
