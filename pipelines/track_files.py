"""Track files: one a video, named by the content key of what it was made from.

A file knows its video by content alone. Name, labels and path are laid over it when it is read, so renaming files or
correcting labels costs no tracking.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mggtalk.records import Rejected, Split, TrackedVideo, VideoRecord
from mggtalk.stages.track_tables import dump_track, load_track

VIDEOS_DIRECTORY = "videos"
SUFFIX = ".parquet"
CLIPS_FILE = "clips.parquet"
SEGMENTS_FILE = "segments.parquet"


@dataclass(frozen=True, slots=True, eq=False)
class TrackFile:
    """A track file as it is now: what became of `record`, and the file's SHA-256."""

    record: VideoRecord
    result: TrackedVideo | Rejected
    sha256: str


def encode_track(record: VideoRecord, result: TrackedVideo | Rejected) -> bytes:
    """Return the content of the track file."""
    if isinstance(result, Rejected):
        return dump_track(replace(result, key=record.video_id))
    nameless = replace(record, path="", name="", identity="", license="", split=Split.TRAIN)
    return dump_track(replace(result, video=nameless))


def read_track_files(tracks: Path, records: Mapping[str, VideoRecord]) -> Iterator[TrackFile]:
    """Yield the track files below `tracks` of the videos in `records` (by video id), sorted by file name.

    Raises:
        StageError: a file is damaged or of another version.
    """
    for path in sorted((tracks / VIDEOS_DIRECTORY).glob(f"*{SUFFIX}")):
        result = load_track(path)
        record = records[result.key if isinstance(result, Rejected) else result.video.video_id]
        yield TrackFile(record, _labelled(result, record), hashlib.sha256(path.read_bytes()).hexdigest())


def _labelled(result: TrackedVideo | Rejected, record: VideoRecord) -> TrackedVideo | Rejected:
    if isinstance(result, Rejected):
        return replace(result, key=record.name)
    return replace(result, video=record, clips=tuple(replace(clip, video=record) for clip in result.clips))
