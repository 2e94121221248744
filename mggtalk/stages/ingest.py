"""`ingest`: every input of a recipe becomes a row of `videos.parquet`, or a rejection with its reason."""

import hashlib
import math
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from mggtalk.errors import VideoError
from mggtalk.params import config
from mggtalk.records import Rejected, RejectReason, Split, VideoRecord
from mggtalk.stages.splits import split_of
from mggtalk.stages.tables import read_rows, write_rejects, write_rows
from mggtalk.video.container import NoVideoStreamError, UnsupportedFileError
from mggtalk.video.probe import VideoProbe, probe

VIDEOS_FILE = "videos.parquet"

# Part of a video's name in every later stage; 16 digits collide once in 10^9 for 190,000 videos.
UNKNOWN_IDENTITY = "video:"
_ID_DIGITS = 16


@config
class IngestConfig:
    """The `ingest` group of the params file.

    Attributes:
        recipe: the recipe file. watch: the folder or file whose content, besides the recipe, makes the stage run again.
        val_fraction, test_fraction: of the identities whose part the recipe does not state.
    """

    recipe: str
    watch: str
    val_fraction: float = Field(ge=0, lt=1)
    test_fraction: float = Field(ge=0, lt=1)

    def __post_init__(self) -> None:
        """Check that the parts fit into the whole.

        Raises:
            ValueError: they do not.
        """
        if self.val_fraction + self.test_fraction > 1:
            raise ValueError(f"val_fraction + test_fraction: {self.val_fraction} + {self.test_fraction} is more than 1")


@dataclass(frozen=True, slots=True)
class IngestItem:
    """One input that a recipe names: a file, or an interval of it.

    Attributes:
        path: of the file. name: for people, unique in the recipe.
        identity: of the person; empty where the recipe does not say. license: SPDX name, or `unknown`.
        split: as the recipe states it; None lets the identity decide.
        start_s, end_s: the interval; the whole file is 0 and infinity.
    """

    path: str
    name: str
    identity: str = ""
    license: str = "unknown"
    split: Split | None = None
    start_s: float = 0.0
    end_s: float = math.inf

    @property
    def is_interval(self) -> bool:
        """The item is a part of its file."""
        return self.start_s > 0 or self.end_s < math.inf


@dataclass(frozen=True, slots=True)
class IngestOutcome:
    """What became of all inputs: videos sorted by id, and rejections sorted by key."""

    videos: tuple[VideoRecord, ...]
    rejects: tuple[Rejected, ...]

    @property
    def num_inputs(self) -> int:
        """Number of inputs that came to this: equal to the number of the recipe's items."""
        return len(self.videos) + len(self.rejects)


class IngestStage:
    """Hashes and probes one input; gives a `VideoRecord`, or a rejection whose key is the input's name."""

    def __init__(self, config: IngestConfig) -> None:
        """Take the fractions of the splits from `config`."""
        self._config = config

    def __call__(self, record: IngestItem) -> Iterator[VideoRecord | Rejected]:
        """Yield what becomes of one input."""
        yield self._ingest(record)

    def _ingest(self, item: IngestItem) -> VideoRecord | Rejected:
        if unusable := _unusable(item):
            return unusable
        try:
            probed = probe(item.path)
        except VideoError as failure:
            return Rejected(item.name, _reason(failure), str(failure))
        if 0 < probed.duration_s <= item.start_s:
            detail = f"{item.path}: lasts {probed.duration_s:.3f} s; the interval starts at {item.start_s:.3f} s"
            return Rejected(item.name, RejectReason.TOO_SHORT, detail)
        return self._video(item, probed)

    def _video(self, item: IngestItem, probed: VideoProbe) -> VideoRecord:
        with Path(item.path).open("rb") as content:
            sha256 = hashlib.file_digest(content, "sha256").hexdigest()
        identity = item.identity or f"{UNKNOWN_IDENTITY}{sha256[:_ID_DIGITS]}"
        split = item.split or split_of(identity, self._config.val_fraction, self._config.test_fraction)
        return VideoRecord(
            video_id=video_id(sha256, item.start_s, item.end_s),
            path=item.path,
            sha256=sha256,
            size_bytes=Path(item.path).stat().st_size,
            start_s=item.start_s,
            end_s=item.end_s,
            width=probed.width,
            height=probed.height,
            fps=probed.fps,
            num_frames=probed.num_frames,
            duration_s=probed.duration_s,
            has_audio=probed.has_audio,
            identity=identity,
            license=item.license,
            split=split,
            name=item.name,
            split_stated=item.split is not None,
        )


def video_id(sha256: str, start_s: float = 0.0, end_s: float = math.inf) -> str:
    """Return the id of a video, or of an interval of it: digits of the hash, and the ends in milliseconds."""
    if start_s == 0 and end_s == math.inf:
        return sha256[:_ID_DIGITS]
    end = "end" if end_s == math.inf else f"{round(end_s * 1000):08d}"
    return f"{sha256[:_ID_DIGITS]}-{round(start_s * 1000):08d}-{end}"


def printable(name: str) -> str:
    r"""Return a file name as text for tables and messages: bytes that are no UTF-8 become `\xNN`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def split_duplicates(records: Iterable[VideoRecord]) -> tuple[list[VideoRecord], list[Rejected]]:
    """Return the records without those of the same content and interval as another, and rejections for these.

    A record whose identity is known goes before one whose is not, then the first by name is kept; so an unlabelled copy
    never takes the place of what the recipe labels. The rejections are in the order of the names.
    """
    kept: dict[str, VideoRecord] = {}
    rejects = []
    for record in sorted(records, key=lambda record: (record.identity.startswith(UNKNOWN_IDENTITY), record.name)):
        first = kept.setdefault(record.video_id, record)
        if first is not record:
            rejects.append(Rejected(record.name, RejectReason.DUPLICATE, f"same content as {first.name}"))
    return list(kept.values()), rejects


def collect(results: Iterable[VideoRecord | Rejected]) -> IngestOutcome:
    """Return all results of the stage, in any order, as its outcome, without duplicates."""
    listed = list(results)
    rejects = [result for result in listed if isinstance(result, Rejected)]
    videos, duplicates = split_duplicates(result for result in listed if isinstance(result, VideoRecord))
    return IngestOutcome(
        videos=tuple(sorted(videos, key=lambda video: video.video_id)),
        rejects=tuple(sorted(rejects + duplicates, key=lambda reject: reject.key)),
    )


def write_videos(directory: Path, videos: Sequence[VideoRecord], rejects: Sequence[Rejected]) -> None:
    """Write `videos.parquet`, sorted by id, and `rejects.parquet`, sorted by key."""
    write_rows(directory / VIDEOS_FILE, sorted(videos, key=lambda video: video.video_id), VideoRecord)
    write_rejects(directory, rejects)


def read_videos(directory: Path) -> list[VideoRecord]:
    """Return the rows of `videos.parquet`.

    Raises:
        StageError: the table is missing or damaged.
    """
    return read_rows(directory / VIDEOS_FILE, VideoRecord)


def _unusable(item: IngestItem) -> Rejected | None:
    """Return the rejection of what need not be opened to see that it is no video."""
    path = printable(item.path)
    if path != item.path:
        return Rejected(
            item.name, RejectReason.UNSUPPORTED_FILE, f"{path}: the file name is not UTF-8; rename the file"
        )
    try:
        status = Path(item.path).stat()
    except (OSError, ValueError) as cause:  # ValueError: a zero byte in the name
        fault = getattr(cause, "strerror", None) or str(cause)
        return Rejected(item.name, RejectReason.MISSING_FILE, f"{path}: no such file, or a link to none ({fault})")
    if not stat.S_ISREG(status.st_mode):
        return Rejected(item.name, RejectReason.UNSUPPORTED_FILE, f"{path}: no regular file")
    return Rejected(item.name, RejectReason.EMPTY_FILE, f"{path}: 0 bytes") if status.st_size == 0 else None


def _reason(failure: VideoError) -> RejectReason:
    if isinstance(failure, UnsupportedFileError):
        return RejectReason.UNSUPPORTED_FILE
    return RejectReason.NO_VIDEO_STREAM if isinstance(failure, NoVideoStreamError) else RejectReason.DECODE_ERROR
