"""Stage `track`: videos become clips of one face with landmarks, pose and expression; see `mggtalk.stages.track`."""

import logging
import sys
from functools import partial

from mggtalk.errors import StageError
from mggtalk.params import load_group
from mggtalk.records import Rejected, TrackedVideo, VideoRecord
from mggtalk.registry.models import model_hash, require
from mggtalk.runtime.content import code_digest, content_key, library_versions
from mggtalk.runtime.resume import FinishedResults
from mggtalk.runtime.stage_runner import describe_counts, run_stage
from mggtalk.stages.ingest import read_videos
from mggtalk.stages.tables import REJECTS_FILE, write_rejects
from mggtalk.stages.track import TrackConfig, TrackStage
from mggtalk.stages.track_tables import write_clip_table, write_segment_table
from pipelines.arguments import StageArguments, stage_main
from pipelines.isolated import WithVideoFile, depends_on_machine, isolated, video_deadline_s
from pipelines.track_files import CLIPS_FILE, SEGMENTS_FILE, SUFFIX, VIDEOS_DIRECTORY, encode_track, read_track_files

_logger = logging.getLogger(__name__)

MODEL = "face_landmarker"
LIBRARIES = ("av", "decord", "mediapipe", "numpy", "opencv-contrib-python", "scipy")


def run(arguments: StageArguments) -> None:
    """Track every video that is not tracked yet, and write the tables of clips and rejections.

    Raises:
        StageError: no video has a clip.
    """
    settings = load_group(arguments.params, "track", TrackConfig)
    directory = arguments.artifacts.tracks
    videos = {video.video_id: video for video in read_videos(arguments.artifacts.videos)}
    model = require(MODEL)
    keys = {video_id: _key(video, settings) for video_id, video in videos.items()}
    files = FinishedResults(directory / VIDEOS_DIRECTORY, SUFFIX)
    files.prune(list(keys.values()))
    to_do = files.unfinished(videos.values(), key_of=lambda video: keys[video.video_id])
    if len(to_do) < len(videos):
        _logger.info("track: %d of %d videos were finished before", len(videos) - len(to_do), len(videos))
    rejects: list[Rejected] = []

    def keep(video: VideoRecord, results: list[TrackedVideo | Rejected]) -> None:
        (result,) = results
        if isinstance(result, Rejected) and depends_on_machine(result, "track"):
            rejects.append(result)
        else:
            files.write(keys[video.video_id], encode_track(video, result))

    run_stage(
        partial(
            WithVideoFile, isolated(partial(TrackStage, settings, model), "name", video_deadline_s), "name", _itself
        ),
        to_do,
        name="track",
        key_of=lambda video: video.name,
        on_result=keep,
        amount_of=_num_frames,
    )
    tracked = []
    for file in read_track_files(directory, videos):
        if isinstance(file.result, Rejected):
            rejects.append(file.result)
        else:
            tracked.append(file.result)
    if len(to_do) < len(videos):
        _logger.info("%s", describe_counts("track in all", (*tracked, *rejects)))
    write_clip_table(directory / CLIPS_FILE, tracked)
    write_segment_table(directory / SEGMENTS_FILE, tracked)
    write_rejects(directory, rejects)
    if not tracked:
        raise StageError(f"track: none of {len(videos)} videos has a usable clip; see {directory / REJECTS_FILE}")


def _itself(video: VideoRecord) -> VideoRecord:
    return video


def _num_frames(video: VideoRecord) -> float:
    """Return about how many frames the video, or the interval of it, has."""
    return max(0.0, min(video.end_s, video.duration_s) - video.start_s) * video.fps


def _key(video: VideoRecord, settings: TrackConfig) -> str:
    return content_key(
        sha256=video.sha256,
        interval_s=[video.start_s, video.end_s],
        box=video.box,
        settings=settings,
        model=model_hash(MODEL),
        code=code_digest("mggtalk.stages.track"),
        libraries=library_versions(*LIBRARIES),
    )


if __name__ == "__main__":
    sys.exit(stage_main(run, __doc__))
