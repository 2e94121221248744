"""Checks, around each record's work, that the video file is the one that was ingested."""

from collections.abc import Callable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import Generic, TypeVar

from mggtalk.records import Rejected, RejectReason, Stage, VideoRecord
from mggtalk.weights.downloads import sha256_of

RecordT = TypeVar("RecordT")
OutputT = TypeVar("OutputT")


class WithVideoFile(Generic[RecordT, OutputT]):
    """A stage around a stage: a record whose video file is not there as ingested is a `MISSING_FILE` rejection.

    The file is checked again when the inner stage could not decode it, because it may have gone in between.

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
    """Return the reason why the video's file cannot be read here and now; None where it can."""
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
    """Return the mismatch if the content of the video's file is not the ingested one; None where it is.

    Results are stored under the hash of the content, so other content must never give one. Hashing reads a gigabyte a
    second, which is little beside decoding.
    """
    if (found := sha256_of(Path(video.path))) == video.sha256:
        return None
    return f"{video.path}: has SHA-256 {found}, expected {video.sha256} as ingested; run ingest again"
