"""The definition of the stage `track`: each part of each video is tracked once; tables follow from all track files."""

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from operator import attrgetter
from pathlib import Path

from mggtalk.artifacts import Artifacts
from mggtalk.errors import StageError
from mggtalk.files import atomic_write
from mggtalk.fingerprint import code_digest, content_key, library_versions
from mggtalk.records import Rejected, TrackedVideo, VideoPart
from mggtalk.result_cache import ResultCache
from mggtalk.stages.cached_stage import CachedStage, FileStore, describe_counts
from mggtalk.stages.ingest.stage import read_videos
from mggtalk.stages.limits import part_deadline_s
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

_logger = logging.getLogger(__name__)

LIBRARIES = ("av", "mediapipe", "numpy", "opencv-contrib-python", "scipy")
_MOST_FPS = 240.0


class TrackDefinition(CachedStage[VideoPart, TrackedVideo, Path]):
    """Tracks every part of every video, and writes the tables of clips, segments and rejections."""

    name = "track"
    record_name = "name"
    unit = "part"
    video_of = attrgetter("video")

    def __init__(self, config: TrackConfig, artifacts: Artifacts) -> None:
        self._config, self._directory = config, artifacts.tracks
        self._models = {name: require(name) for name in config.models}
        self.videos = {video.video_id: video for video in read_videos(artifacts.videos)}
        self.records = [part for video in self.videos.values() for part in parts_of(video)]
        keys = {part: self._key(part) for part in self.records}
        self.store: FileStore[VideoPart, TrackedVideo] = FileStore(
            ResultCache(self._directory / VIDEOS_DIRECTORY, SUFFIX), keys, _write_track
        )

    def worker(self) -> Callable[[], TrackStage]:
        """Return a factory of the stage that tracks one part."""
        return partial(TrackStage, self._config, self._models)

    def deadline(self) -> Callable[[VideoPart], float]:
        """Return the deadline of a part."""
        return part_deadline_s

    def amount_of(self, record: VideoPart) -> float:
        """Return about how many frames the part has; a rate that the container states may be absurd."""
        video = record.video
        length_s = max(0.0, min(video.end_s, video.duration_s) - video.start_s)
        return min(max(length_s - record.number * PART_S, 0.0), PART_S) * min(video.fps, _MOST_FPS)

    def outcome_of(self, record: VideoPart, outputs: list[TrackedVideo | Rejected]) -> object:
        """Return what became of the part: a rejection where it has frames but no clip."""
        return part_outcome(record, outputs)

    def prune(self) -> None:
        """Remove the track files of other videos, parameters, models or code."""
        self.store.prune()

    def describe_finished(self, finished: Collection[VideoPart]) -> str:
        """Return how many videos have all their parts tracked."""
        unfinished = {part.video.video_id for part in self.records if part not in finished}
        return f"{len(self.videos) - len(unfinished)} of {len(self.videos)} videos"

    def assemble(self, results: Mapping[VideoPart, Path | Rejected]) -> None:
        """Write the tables.

        Raises:
            StageError: no video has a usable clip.
        """
        parts: defaultdict[str, dict[int, TrackedVideo | Rejected]] = defaultdict(dict)
        for part, result in results.items():
            if isinstance(result, Rejected):
                parts[part.video.video_id][part.number] = result
        for file in read_track_files(self._directory, self.videos):
            parts[file.record.video_id][file.part] = file.result
        by_video = {name: [parts[name][number] for number in sorted(parts[name])] for name in self.videos}
        outcomes = [outcome(self.videos[name], results) for name, results in by_video.items()]
        tracked = [result for result in outcomes if isinstance(result, TrackedVideo)]
        _logger.info("%s", describe_counts("track in all", outcomes))
        write_clip_table(self._directory / CLIPS_FILE, tracked)
        write_segment_table(self._directory / SEGMENTS_FILE, (part for parts in by_video.values() for part in parts))
        write_rejects(self._directory, [result for result in outcomes if isinstance(result, Rejected)])
        if not tracked:
            rejects = self._directory / REJECTS_FILE
            raise StageError(f"track: none of {len(self.videos)} videos has a usable clip; see {rejects}")

    def _key(self, part: VideoPart) -> str:
        return content_key(
            sha256=part.video.sha256,
            interval_s=[part.video.start_s, part.video.end_s],
            box=list(part.video.box),
            part=[part.number, part.num_parts],
            settings=replace(self._config, identity_encoder="none"),  # tracks nothing
            models={name: model_hash(name) for name in self._config.models},
            code=code_digest(TrackStage.__module__),
            libraries=library_versions(*LIBRARIES, *self._config.backend.libraries),
        )


def _write_track(path: Path, part: VideoPart, outputs: Sequence[TrackedVideo | Rejected]) -> None:
    (result,) = outputs
    atomic_write(path, encode_track(part, result))
