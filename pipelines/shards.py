"""Stage `shards`: tracked clips become the data set; see `mggtalk.stages.shards.stage` and docs/shards.md."""

import logging
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, replace
from functools import partial
from operator import attrgetter
from pathlib import Path

from mggtalk.errors import StageError
from mggtalk.fingerprint import code_digest, content_key, library_versions
from mggtalk.params import load_group
from mggtalk.perception.head_models import head_models
from mggtalk.records import ClipTrack, Rejected, ShardSample, TrackedVideo
from mggtalk.runtime.isolated_stage import (
    MEMORY_LIMIT_BYTES,
    WithVideoFile,
    clip_deadline_s,
    depends_on_machine,
    isolated,
)
from mggtalk.runtime.stage_command import Artifacts, StageArguments, stage_main
from mggtalk.runtime.stage_runner import describe_counts, run_stage
from mggtalk.shards.card.card import CardContext, write_card
from mggtalk.shards.card.examples import write_examples
from mggtalk.shards.index import write_index
from mggtalk.shards.protocol import shards_protocol
from mggtalk.shards.writing.staging import StoredClip
from mggtalk.shards.writing.writer import write_shards
from mggtalk.stages.ingest.config import IngestConfig
from mggtalk.stages.ingest.stage import read_videos
from mggtalk.stages.shards.clip_cache import ClipCache
from mggtalk.stages.shards.config import ShardsConfig
from mggtalk.stages.shards.stage import ShardsStage
from mggtalk.stages.tables import REJECTS_FILE, read_rejects, write_rejects
from mggtalk.stages.track.track_files import check_complete, read_track_files
from mggtalk.weights.table import model_hash

_logger = logging.getLogger(__name__)

LIBRARIES = ("av", "numpy", "opencv-contrib-python", "scipy", "torch")


def run(arguments: StageArguments) -> None:
    """Make the samples of every clip that has none yet, and assemble the shards.

    Raises:
        StageError: no clip has samples.
    """
    settings = load_group(arguments.params, "shards", ShardsConfig)
    directory = arguments.artifacts.shards
    models = head_models(
        settings.head_parsing,
        settings.depth,
        parsing_model=settings.parsing_model,
        depth_model=settings.depth_model,
    )
    hashes = {"face_landmarker": model_hash("face_landmarker"), **models.hashes}
    libraries = library_versions(*sorted({*LIBRARIES, *models.libraries}))
    # The hashes say which networks; where a user keeps them is nobody's business.
    unnamed = replace(settings, parsing_model="", depth_model="")
    finished = ClipCache(arguments.artifacts.spool("shards"), directory)
    clips = _clips(arguments.artifacts, unnamed, hashes, libraries)
    results: dict[str, StoredClip | Rejected] = {}
    for key in clips:
        if (known := finished.find(key)) is not None:
            results[key] = known
    if finished_before := len(results):
        _logger.info("shards: %d of %d clips were finished before", finished_before, len(clips))
    keys = {clip.clip_id: key for key, clip in clips.items()}

    def keep(clip: ClipTrack, outcome: list[ShardSample | Rejected]) -> None:
        key, first = keys[clip.clip_id], outcome[0]
        if isinstance(first, Rejected) and depends_on_machine(first, "shards"):
            results[key] = first
        else:
            results[key] = finished.keep(key, outcome)

    stage = isolated(
        partial(ShardsStage, settings, _landmark_set(clips.values()), models.paths, hashes),
        "clip_id",
        partial(clip_deadline_s, seconds_per_frame=models.seconds_per_frame),
        memory_limit_bytes=MEMORY_LIMIT_BYTES + models.memory_bytes,
    )
    run_stage(
        partial(WithVideoFile, stage, "clip_id", attrgetter("video")),
        [clip for key, clip in clips.items() if key not in results],
        name="shards",
        key_of=lambda clip: clip.clip_id,
        on_result=keep,
        wants_gpu=models.has_network,
        unit="clip",
        amount_of=lambda clip: clip.num_frames,
    )
    if finished_before:
        _logger.info("%s", describe_counts("shards in all", results.values()))
    _assemble(arguments, unnamed, hashes, libraries, list(results.values()))
    finished.forget_all_but(clips)


def _landmark_set(clips: Iterable[ClipTrack]) -> str:
    """Return the name of the set of the clips' landmarks: one run of `track` makes all of them."""
    return next((clip.landmark_set for clip in clips), "mediapipe_478")


def _clips(
    artifacts: Artifacts, settings: ShardsConfig, hashes: dict[str, str], libraries: dict[str, str]
) -> dict[str, ClipTrack]:
    """Return all tracked clips by the content key of their samples.

    Raises:
        StageError: the tracks are damaged, or are not those of the ingested videos.
    """
    videos = {video.video_id: video for video in read_videos(artifacts.videos)}
    check_complete(videos, read_track_files(artifacts.tracks, videos), read_rejects(artifacts.tracks))
    return {
        content_key(
            clip_id=clip.clip_id,
            track=file.sha256,
            labels=[clip.video.name, clip.video.identity, clip.video.license, clip.video.split],
            settings=replace(settings, target_shard_mb=0.0),  # lays out shards, changes no sample
            models=hashes,
            code=code_digest("mggtalk.stages.shards.stage"),
            libraries=libraries,
        ): clip
        for file in read_track_files(artifacts.tracks, videos)
        if isinstance(file.result, TrackedVideo)
        for clip in file.result.clips
    }


def _assemble(
    arguments: StageArguments,
    settings: ShardsConfig,
    hashes: dict[str, str],
    libraries: dict[str, str],
    results: list[StoredClip | Rejected],
) -> None:
    artifacts = arguments.artifacts
    directory = artifacts.shards
    stored = [result for result in results if isinstance(result, StoredClip)]
    rejects = [result for result in results if isinstance(result, Rejected)]
    before = [*read_rejects(artifacts.videos), *read_rejects(artifacts.tracks)]  # the card accounts for every input
    rows = write_shards(directory, stored, target_bytes=round(settings.target_shard_mb * 1e6))
    context = CardContext(
        name=Path(load_group(arguments.params, "ingest", IngestConfig).recipe).parent.name,
        examples=write_examples(directory, rows),
        protocol=shards_protocol(
            size=settings.size, crop_margin=settings.crop_margin, head_parsing=settings.head_parsing
        ),
        parameters=asdict(settings),
        models=hashes,
        code=code_digest("mggtalk.stages.shards.stage"),
        tools=libraries,
        rejects=Counter(rejected.reason for rejected in (*before, *rejects)),
    )
    write_card(directory, rows, context)
    write_rejects(directory, rejects)
    write_index(directory, rows)
    if not stored:
        raise StageError(f"shards: none of {len(results)} clips has samples; see {directory / REJECTS_FILE}")


if __name__ == "__main__":
    sys.exit(stage_main(run, __doc__))
