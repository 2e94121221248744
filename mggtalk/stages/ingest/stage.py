"""`ingest`: every input of a recipe becomes a row of `videos.parquet`, or a rejection with its reason.

Files are probed first (`probed_files`), each once; then the recipe's words are laid over them here. So intervals of one
long video cost one hash, and a change of labels costs none.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mggtalk.records import Rejected, RejectReason, VideoRecord
from mggtalk.stages.ingest.config import IngestConfig
from mggtalk.stages.ingest.items import LONGEST_S, UNKNOWN_IDENTITY, IngestItem
from mggtalk.stages.ingest.probe import ProbedFile
from mggtalk.stages.ingest.recipes.face_boxes import box_in_pixels
from mggtalk.stages.ingest.splits import split_of
from mggtalk.stages.tables import read_rows, write_rejects, write_rows

VIDEOS_FILE = "videos.parquet"

# Part of a video's name in every later stage; 16 digits collide once in 10^9 for 190,000 videos.
_ID_DIGITS = 16
_BOX_DIGITS = 8  # among the boxes of one interval


@dataclass(frozen=True, slots=True)
class IngestOutcome:
    """The outcome of all inputs: videos sorted by id, and rejections sorted by key."""

    videos: tuple[VideoRecord, ...]
    rejects: tuple[Rejected, ...]

    @property
    def num_inputs(self) -> int:
        """Number of inputs that came to this: equal to the number of the recipe's items."""
        return len(self.videos) + len(self.rejects)


def video_of(item: IngestItem, file: ProbedFile | Rejected, config: IngestConfig) -> VideoRecord | Rejected:
    """Return the record of an input: the statements of the recipe, applied to its file.

    Args:
        file: the probe of the file at `item.path`.
    """
    if isinstance(file, Rejected):
        return replace(file, key=item.name)
    if item.sha256 and file.sha256 != item.sha256:
        detail = f"{item.path}: has SHA-256 {file.sha256}, expected {item.sha256}"
        return Rejected(item.name, RejectReason.CHECKSUM_MISMATCH, detail)
    if item.end_s <= item.start_s or (file.duration_s or LONGEST_S) <= item.start_s:
        detail = f"{item.path}: lasts {file.duration_s:.3f} s; the interval is {item.start_s:.3f} to {item.end_s:.3f} s"
        return Rejected(item.name, RejectReason.TOO_SHORT, detail)
    end_s = item.end_s if item.end_s < LONGEST_S else math.inf
    box = box_in_pixels(item.box, item.box_frame, file.width, file.height) if item.box else ()
    if item.box and not box:
        detail = f"{item.path}: {file.width} x {file.height} pixels; the box is {_edges(item.box)}"
        return Rejected(item.name, RejectReason.BOX_OUTSIDE_FRAME, detail)
    identity = item.identity or f"{UNKNOWN_IDENTITY}{file.sha256[:_ID_DIGITS]}"
    return VideoRecord(
        video_id=video_id(file.sha256, item.start_s, end_s, box),
        path=item.path,
        sha256=file.sha256,
        size_bytes=file.size_bytes,
        start_s=item.start_s,
        end_s=end_s,
        width=file.width,
        height=file.height,
        fps=file.fps,
        num_frames=file.num_frames,
        duration_s=file.duration_s,
        has_audio=file.has_audio,
        identity=identity,
        license=item.license,
        split=item.split or split_of(identity, config.val_fraction, config.test_fraction),
        name=item.name,
        box=box,
        split_stated=item.split is not None,
    )


def video_id(sha256: str, start_s: float = 0.0, end_s: float = math.inf, box: tuple[float, ...] = ()) -> str:
    """Return the id of a video, of an interval of it, or of a face in it.

    It is made of digits of the file's hash, of the ends in milliseconds, and of a hash of the box in pixels: two faces
    at the same time are two inputs.
    """
    digits = sha256[:_ID_DIGITS]
    if start_s > 0 or end_s < math.inf:
        end = "end" if end_s == math.inf else f"{round(end_s * 1000):08d}"
        digits += f"-{round(start_s * 1000):08d}-{end}"
    if box:
        digits += f"-b{hashlib.sha256(_edges(box).encode()).hexdigest()[:_BOX_DIGITS]}"
    return digits


def split_duplicates(records: Iterable[VideoRecord]) -> tuple[list[VideoRecord], list[Rejected]]:
    """Return the records without those of the same content, interval and box as another, and rejections for these.

    A record whose identity is known goes before one whose is not, then the first by name is kept; so an unlabelled copy
    never replaces a labelled video. The rejections are in the order of the names.
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


def _edges(box: tuple[float, ...]) -> str:
    return " ".join(f"{edge:.2f}" for edge in box)
