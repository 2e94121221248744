"""The first half of `ingest`: each file is hashed and probed once, whatever the recipe says about it."""

import hashlib
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mggtalk.errors import VideoError
from mggtalk.records import Rejected, RejectReason
from mggtalk.stages.ingest.items import printable
from mggtalk.video.container import NoVideoStreamError, UnsupportedFileError
from mggtalk.video.probe import probe


@dataclass(frozen=True, slots=True)
class VideoFile:
    """A file to probe, as it lies on the disk; the same numbers say that it is the same file.

    Attributes:
        modified_ns: time of the last change of its content. inode: its number in the file system.
    """

    path: str
    size_bytes: int
    modified_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class ProbedFile:
    """Properties of a video file; the fields are those of `VideoRecord`."""

    path: str
    sha256: str
    size_bytes: int
    width: int
    height: int
    fps: float
    num_frames: int
    duration_s: float
    has_audio: bool


class ProbeStage:
    """Hashes and probes one file; gives a `ProbedFile`, or a rejection whose key is the path."""

    def __call__(self, record: VideoFile) -> Iterator[ProbedFile | Rejected]:
        """Yield the properties of one file."""
        try:
            result = self._probe(record.path)
        except OSError as cause:  # unreadable now: a disk that has gone, say; nothing is known of the file
            yield Rejected(record.path, RejectReason.MISSING_FILE, f"{record.path}: {cause.strerror or cause}")
            return
        if look_up(record.path) != record:
            detail = f"{record.path}: changed, or went away, while it was read"
            result = Rejected(record.path, RejectReason.MISSING_FILE, detail)
        yield result

    def _probe(self, path: str) -> ProbedFile | Rejected:
        with Path(path).open("rb") as content:
            content.read(1)  # FFmpeg would call a file that cannot be read no video
            try:
                probed = probe(path)
            except VideoError as failure:
                return Rejected(path, _reason(failure), str(failure))
            content.seek(0)
            sha256 = hashlib.file_digest(content, "sha256").hexdigest()
            size_bytes = content.tell()
        return ProbedFile(
            path=path,
            sha256=sha256,
            size_bytes=size_bytes,
            width=probed.width,
            height=probed.height,
            fps=probed.fps,
            num_frames=probed.num_frames,
            duration_s=probed.duration_s,
            has_audio=probed.has_audio,
        )


def look_up(path: str) -> VideoFile | Rejected:
    """Return a file's status, or the rejection where that alone shows that it is no video."""
    shown = printable(path)
    if shown != path:
        return Rejected(shown, RejectReason.UNSUPPORTED_FILE, f"{shown}: the file name is not UTF-8; rename the file")
    try:
        status = Path(path).stat()
    except (OSError, ValueError) as cause:  # ValueError: a zero byte in the name
        fault = getattr(cause, "strerror", None) or str(cause)
        return Rejected(path, RejectReason.MISSING_FILE, f"{path}: no such file, or a link to none ({fault})")
    if not stat.S_ISREG(status.st_mode):
        return Rejected(path, RejectReason.UNSUPPORTED_FILE, f"{path}: no regular file")
    if status.st_size == 0:
        return Rejected(path, RejectReason.EMPTY_FILE, f"{path}: 0 bytes")
    return VideoFile(path, status.st_size, status.st_mtime_ns, status.st_ino)


def _reason(failure: VideoError) -> RejectReason:
    if isinstance(failure, UnsupportedFileError):
        return RejectReason.UNSUPPORTED_FILE
    return RejectReason.NO_VIDEO_STREAM if isinstance(failure, NoVideoStreamError) else RejectReason.DECODE_ERROR
