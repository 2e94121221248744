"""Tells broken records from a troubled machine: limits of time and memory, and files that cannot be read now."""

import logging
import math
from collections.abc import Callable, Iterator
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from mggtalk.records import ClipTrack, Rejected, RejectReason, Stage, VideoRecord
from mggtalk.runtime.isolation import Isolated, PickledFactory
from mggtalk.stages.ingest.probe import VideoFile
from mggtalk.weights.downloads import sha256_of

_logger = logging.getLogger(__name__)

RecordT = TypeVar("RecordT")
OutputT = TypeVar("OutputT")


MEMORY_LIMIT_BYTES = 4 << 30
"""Tracking or sharding a clip takes about 1 GB without networks; what decoders eat up on broken files has no bound."""

DEPENDS_ON_MACHINE = frozenset(
    {RejectReason.MISSING_FILE, RejectReason.DECODE_TIMEOUT, RejectReason.CRASHED, RejectReason.OUT_OF_MEMORY}
)
"""Rejections that a rerun tries again: a busy machine or a disk that is not mounted may be why."""

STALL_S = 120.0
"""Longest time without a sign of life, which comes with every frame: what one hang costs."""

_PER_FILE_S = 120.0
_PER_FRAME_S = 0.5
"""40 times what a frame takes on one core."""
_PER_MEGABYTE_S = 2.0
"""To probe and hash a file: a slow network disk reads 1 MB/s."""
_LEAST_FRAME_BYTES = 16
"""A frame that repeats the last one takes about as much, with its entry in the container's tables."""


def isolated(
    factory: Callable[[], Stage[RecordT, OutputT]],
    key: str,
    deadline_s: Callable[[RecordT], float],
    stall_s: float = STALL_S,
    memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
) -> Callable[[], Isolated[RecordT, OutputT]]:
    """Return a factory of the stage in a process of its own, which alone loads its networks.

    Args:
        key: the attribute that names a record. deadline_s: seconds for a record.
        stall_s: see `Isolated`; infinity for a stage that gives no signs of life.
    """
    return partial(Isolated, PickledFactory(factory), attrgetter(key), deadline_s, memory_limit_bytes, stall_s)


class WithVideoFile(Generic[RecordT, OutputT]):
    """A stage around a stage: a record whose video file is not there as ingested is a `MISSING_FILE` rejection.

    The file is looked at again when the inner stage could not decode it, for it may have gone in between.

    Args:
        factory: builds the inner stage. key: the attribute that names a record. video_of: gives its video.
    """

    def __init__(
        self,
        factory: Callable[[], Stage[RecordT, OutputT]],
        key: str,
        video_of: Callable[[RecordT], VideoRecord],
    ) -> None:
        self._stage = factory()
        self._key_of = attrgetter(key)
        self._video_of = video_of

    def __call__(self, record: RecordT) -> Iterator[OutputT | Rejected]:
        """Yield what the inner stage makes of `record`, or the rejection."""
        video = self._video_of(record)
        fault = file_fault(video) or content_fault(video)
        results = [] if fault else list(self._stage(record))
        if any(isinstance(result, Rejected) and result.reason is RejectReason.DECODE_ERROR for result in results):
            fault = file_fault(video) or content_fault(video)
        if fault:
            yield Rejected(self._key_of(record), RejectReason.MISSING_FILE, fault)
        else:
            yield from results


def file_fault(video: VideoRecord) -> str | None:
    """Return why the video's file cannot be worked on here and now; None where it can."""
    try:
        with Path(video.path).open("rb") as file:
            size_bytes = file.seek(0, 2)
            file.seek(0)
            file.read(1)
    except OSError as cause:
        return f"{video.path}: {cause.strerror or cause}"
    if size_bytes != video.size_bytes:
        return f"{video.path}: {size_bytes} bytes, expected {video.size_bytes} as ingested; run ingest again"
    return None


def content_fault(video: VideoRecord) -> str | None:
    """Return why the content of the video's file is not that which was ingested; None where it is.

    Results are kept under the hash of the content, so what another content gave must never get there. Hashing reads a
    gigabyte a second, which is little beside decoding it.
    """
    if (found := sha256_of(Path(video.path))) == video.sha256:
        return None
    return f"{video.path}: has SHA-256 {found}, expected {video.sha256} as ingested; run ingest again"


def file_deadline_s(file: VideoFile) -> float:
    """Return the seconds to probe and hash a file: its bytes may come from a slow network disk."""
    return _PER_FILE_S + _PER_MEGABYTE_S * file.size_bytes / 1e6


def video_deadline_s(record: VideoRecord) -> float:
    """Return the seconds to track a video: by its frames as stated, but no more of them than its bytes can hold.

    Too much rather than too little: what hangs is found by the signs of life that it does not give.
    """
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
        seconds_per_frame: for networks, a frame.
    """
    return video_deadline_s(record.video) + (_PER_FRAME_S + seconds_per_frame) * record.num_frames


def depends_on_machine(result: object, stage: str) -> bool:
    """Tell, and warn of it, whether a result may be another when the same work is done again."""
    if not isinstance(result, Rejected) or result.reason not in DEPENDS_ON_MACHINE:
        return False
    _logger.warning("%s: %s: %s: %s; the next run tries again", stage, result.key, result.reason, result.detail)
    return True
