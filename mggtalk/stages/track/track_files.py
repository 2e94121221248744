"""Track files: one a video, or one a part of a long video, named by the content key of what it was made from.

A file knows its video by content alone. Name, labels and path are laid over it when it is read, so renaming files or
correcting labels costs no tracking; so are, over each clip, identity and split as `identity/` resolved them.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mggtalk.errors import StageError
from mggtalk.records import Rejected, RejectReason, Split, TrackedVideo, VideoPart, VideoRecord
from mggtalk.stages import tables
from mggtalk.stages.track.clip_segmentation import main_reason
from mggtalk.stages.track.identity.resolution import ClipIdentity, read_identities, split_stays
from mggtalk.stages.track.stage import num_parts
from mggtalk.stages.track.tables import dump_track, load_track

VIDEOS_DIRECTORY = "videos"
SUFFIX = ".parquet"
CLIPS_FILE = tables.CLIPS_FILE
SEGMENTS_FILE = "segments.parquet"

_RUN_TRACK = "the tracks do not belong to these videos, run the stage track"


@dataclass(frozen=True, slots=True, eq=False)
class TrackFile:
    """A track file as it is now: what became of a part of `record`, and the file's SHA-256."""

    record: VideoRecord
    part: int
    result: TrackedVideo | Rejected
    sha256: str


def parts_of(video: VideoRecord) -> list[VideoPart]:
    """Return the parts that a video is tracked in, most often one."""
    count = num_parts(video)
    return [VideoPart(video, number, count) for number in range(count)]


def encode_track(record: VideoPart, result: TrackedVideo | Rejected) -> bytes:
    """Return the content of the track file."""
    if isinstance(result, Rejected):
        return dump_track(replace(result, key=record.video.video_id), record.number)
    nameless = replace(record.video, path="", name="", identity="", license="", split=Split.TRAIN, split_stated=False)
    return dump_track(replace(result, video=nameless), record.number)


def read_track_files(
    tracks: Path, records: Mapping[str, VideoRecord], *, identified: bool = True
) -> Iterator[TrackFile]:
    """Yield the track files below `tracks` of the videos in `records` (by video id), sorted by file name.

    Args:
        identified: lay the table of identities over the clips, where there is one.

    Raises:
        StageError: a file is damaged, of another version, or of a video that is not in `records`; or the table of
            identities is of other clips or labels.
    """
    identities = read_identities(tracks) if identified else None
    for path in sorted((tracks / VIDEOS_DIRECTORY).glob(f"*{SUFFIX}")):
        result, part = load_track(path)
        record = records.get(result.key if isinstance(result, Rejected) else result.video.video_id)
        if record is None:
            raise StageError(f"{path}: its video is not in the table; {_RUN_TRACK}")
        yield TrackFile(
            record, part, _labelled(result, record, identities), hashlib.sha256(path.read_bytes()).hexdigest()
        )


def check_complete(records: Mapping[str, VideoRecord], files: Iterable[TrackFile], rejects: Iterable[Rejected]) -> None:
    """Check that every part of every video has a track file, or its video is among the rejections of `track`.

    Raises:
        StageError: some have not.
    """
    known = {(file.record.video_id, file.part) for file in files}
    rejected = {rejection.key for rejection in rejects}
    lost = sorted(
        part.name
        for record in records.values()
        if record.name not in rejected
        for part in parts_of(record)
        if (record.video_id, part.number) not in known
    )
    if lost:
        raise StageError(f"{len(lost)} videos have no track file ({lost[0]!r}, ...); {_RUN_TRACK}")


def outcome(video: VideoRecord, results: Sequence[TrackedVideo | Rejected]) -> TrackedVideo | Rejected:
    """Return what became of a video as a whole from what became of its parts, in their order.

    It is rejected if no part has a clip: for what stopped it, else for the reason that cost most frames.
    """
    tracked = [result for result in results if isinstance(result, TrackedVideo)]
    lost = [result for result in results if isinstance(result, Rejected)]
    clips = tuple(clip for part in tracked for clip in part.clips)
    segments = tuple(segment for part in tracked for segment in part.segments)
    if clips:
        return TrackedVideo(video, clips, segments)
    if lost:
        return replace(lost[0], key=video.name)
    if not segments:
        return Rejected(video.name, RejectReason.DECODE_ERROR, "no frames")
    return Rejected(video.name, *main_reason(segments))


def part_outcome(part: VideoPart, results: Sequence[TrackedVideo | Rejected]) -> TrackedVideo | Rejected:
    """Return the outcome of a part for the summary; a part whose frames another part has is no loss."""
    (result,) = results
    return result if isinstance(result, TrackedVideo) and not result.segments else outcome(part.video, results)


def _labelled(
    result: TrackedVideo | Rejected, record: VideoRecord, identities: Mapping[str, ClipIdentity] | None
) -> TrackedVideo | Rejected:
    if isinstance(result, Rejected):
        return replace(result, key=record.name)
    clips = (replace(clip, video=_identified(clip.clip_id, record, identities)) for clip in result.clips)
    return replace(result, video=record, clips=tuple(clips))


def _identified(clip_id: str, record: VideoRecord, identities: Mapping[str, ClipIdentity] | None) -> VideoRecord:
    if identities is None:
        return record
    found = identities.get(clip_id)
    if found is None or found.labelled != record.identity or (split_stays(record) and found.split != record.split):
        raise StageError(f"{record.name}: clip {clip_id}: the identities are of other clips or labels; {_RUN_TRACK}")
    return replace(record, identity=found.identity, split=found.split)
