"""Stage `track`: turns videos into clips of one face; see `mggtalk.stages.track.stage`."""

import logging
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from operator import attrgetter
from pathlib import Path

from mggtalk.errors import StageError
from mggtalk.fingerprint import code_digest, content_key, library_versions
from mggtalk.params import load_group
from mggtalk.records import Rejected, TrackedVideo, VideoPart, VideoRecord
from mggtalk.result_cache import ResultCache
from mggtalk.runtime.isolated_stage import WithVideoFile, depends_on_machine, isolated, part_deadline_s
from mggtalk.runtime.stage_command import StageArguments, stage_main
from mggtalk.runtime.stage_runner import describe_counts, run_stage
from mggtalk.stages.ingest.config import IngestConfig
from mggtalk.stages.ingest.stage import read_videos
from mggtalk.stages.tables import REJECTS_FILE, write_rejects
from mggtalk.stages.track.config import TrackConfig
from mggtalk.stages.track.stage import PART_S, TrackStage
from mggtalk.stages.track.tables import write_clip_table, write_segment_table
from mggtalk.stages.track.track_files import (
    CLIPS_FILE,
    SEGMENTS_FILE,
    SUFFIX,
    VIDEOS_DIRECTORY,
    encode_track,
    outcome,
    part_outcome,
    parts_of,
    read_track_files,
)
from mggtalk.weights.table import model_hash, require
from pipelines.identities import identify

_logger = logging.getLogger(__name__)

_MOST_FPS = 240.0
LIBRARIES = ("av", "mediapipe", "numpy", "opencv-contrib-python", "scipy")


def run(arguments: StageArguments) -> None:
    """Track every video that is not tracked yet, and write the tables of clips, of all frames' fates and of rejections.

    Raises:
        StageError: no video has a clip.
    """
    settings = load_group(arguments.params, "track", TrackConfig)
    directory = arguments.artifacts.tracks
    videos = {video.video_id: video for video in read_videos(arguments.artifacts.videos)}
    models = {name: require(name) for name in settings.models}
    parts = [part for video in videos.values() for part in parts_of(video)]
    keys = {part: _key(part, settings) for part in parts}
    files = ResultCache(directory / VIDEOS_DIRECTORY, SUFFIX)
    files.prune(list(keys.values()))
    to_do = files.unfinished(parts, key_of=keys.__getitem__)
    if len(to_do) < len(parts):
        unfinished = {part.video.video_id for part in to_do}
        _logger.info("track: %d of %d videos were finished before", len(videos) - len(unfinished), len(videos))
    results: defaultdict[str, dict[int, TrackedVideo | Rejected]] = defaultdict(dict)

    def keep(part: VideoPart, outcomes: list[TrackedVideo | Rejected]) -> None:
        (result,) = outcomes
        if isinstance(result, Rejected) and depends_on_machine(result, "track"):
            results[part.video.video_id][part.number] = result
        else:
            files.write(keys[part], encode_track(part, result))

    stage = isolated(partial(TrackStage, settings, models), "name", part_deadline_s)
    run_stage(
        partial(WithVideoFile, stage, "name", attrgetter("video")),
        to_do,
        name="track",
        key_of=attrgetter("name"),
        on_result=keep,
        unit="part",
        amount_of=_num_frames,
        outcome_of=part_outcome,
    )
    splits = load_group(arguments.params, "ingest", IngestConfig)
    identify(directory, videos, settings.identity_encoder, settings.backend.landmark_set, splits)
    for file in read_track_files(directory, videos):
        results[file.record.video_id][file.part] = file.result
    _write_tables(directory, videos, results)


def _write_tables(
    directory: Path,
    videos: Mapping[str, VideoRecord],
    results: Mapping[str, Mapping[int, TrackedVideo | Rejected]],
) -> None:
    by_part = {video_id: [results[video_id][part] for part in sorted(results[video_id])] for video_id in videos}
    outcomes = [outcome(video, by_part[video_id]) for video_id, video in videos.items()]
    tracked = [result for result in outcomes if isinstance(result, TrackedVideo)]
    rejects = [result for result in outcomes if isinstance(result, Rejected)]
    _logger.info("%s", describe_counts("track in all", outcomes))
    write_clip_table(directory / CLIPS_FILE, tracked)
    write_segment_table(directory / SEGMENTS_FILE, (part for parts in by_part.values() for part in parts))
    write_rejects(directory, rejects)
    if not tracked:
        raise StageError(f"track: none of {len(videos)} videos has a usable clip; see {directory / REJECTS_FILE}")


def _num_frames(part: VideoPart) -> float:
    """Return about how many frames the part has; a rate that the container states may be absurd."""
    video = part.video
    length_s = max(0.0, min(video.end_s, video.duration_s) - video.start_s)
    return min(max(length_s - part.number * PART_S, 0.0), PART_S) * min(video.fps, _MOST_FPS)


def _key(part: VideoPart, settings: TrackConfig) -> str:
    return content_key(
        sha256=part.video.sha256,
        interval_s=[part.video.start_s, part.video.end_s],
        box=list(part.video.box),
        part=[part.number, part.num_parts],
        settings=replace(settings, identity_encoder="none"),  # tracks nothing
        models={name: model_hash(name) for name in settings.models},
        code=code_digest("mggtalk.stages.track.stage"),
        libraries=library_versions(*LIBRARIES, *settings.backend.libraries),
    )


if __name__ == "__main__":
    sys.exit(stage_main(run, __doc__))
