"""The definition of the stage `shards`: each clip is encoded once; shards, index and card follow from all clips."""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, replace
from functools import partial
from operator import attrgetter
from pathlib import Path

from mggtalk.artifacts import Artifacts
from mggtalk.errors import StageError
from mggtalk.fingerprint import code_digest, content_key, library_versions
from mggtalk.perception.head_models import head_models
from mggtalk.records import ClipTrack, Rejected, ShardSample, TrackedVideo
from mggtalk.shards.card.card import CardContext, write_card
from mggtalk.shards.card.examples import write_examples
from mggtalk.shards.index import write_index
from mggtalk.shards.protocol import shards_protocol
from mggtalk.shards.writing.staging import StagedClip
from mggtalk.shards.writing.writer import write_shards
from mggtalk.stages.cached_stage import CachedStage, StoreByRecord, describe_counts
from mggtalk.stages.ingest.config import IngestConfig
from mggtalk.stages.ingest.stage import read_videos
from mggtalk.stages.limits import MEMORY_LIMIT_BYTES, clip_deadline_s
from mggtalk.stages.shards.clip_cache import ClipCache
from mggtalk.stages.shards.config import ShardsConfig
from mggtalk.stages.shards.stage import ShardsStage
from mggtalk.stages.tables import REJECTS_FILE, read_rejects, write_rejects
from mggtalk.stages.track.track_files import check_complete, read_track_files
from mggtalk.weights.table import model_hash

_logger = logging.getLogger(__name__)

LIBRARIES = ("av", "numpy", "opencv-contrib-python", "scipy", "torch")


class ShardsDefinition(CachedStage[ClipTrack, ShardSample, StagedClip]):
    """Encodes every tracked clip, and writes the data set.

    Args:
        ingest: names the data set.

    Raises:
        StageError: the tracks are damaged, or are not those of the ingested videos. WeightsError: a model is missing.
    """

    name = "shards"
    record_name = "clip_id"
    unit = "clip"
    video_of = attrgetter("video")

    def __init__(self, config: ShardsConfig, ingest: IngestConfig, artifacts: Artifacts) -> None:
        self._config, self._ingest, self._artifacts = config, ingest, artifacts
        self._models = head_models(
            config.head_parsing, config.depth, parsing_model=config.parsing_model, depth_model=config.depth_model
        )
        self.wants_gpu = self._models.has_network
        self.memory_limit_bytes = MEMORY_LIMIT_BYTES + self._models.memory_bytes
        self._hashes = {"face_landmarker": model_hash("face_landmarker"), **self._models.hashes}
        self._libraries = library_versions(*sorted({*LIBRARIES, *self._models.libraries}))
        # The hashes say which networks; a folder of the user's is private.
        self._unnamed = replace(config, parsing_model="", depth_model="")
        self._keys = self._content_keys()
        self.records = list(self._keys)
        self._cache = ClipCache(artifacts.staging("shards"), artifacts.shards)
        self.store = StoreByRecord(self._cache, self._keys.__getitem__)

    def worker(self) -> Callable[[], ShardsStage]:
        """Return a factory of the stage that encodes one clip."""
        return partial(ShardsStage, self._config, self._landmark_set, self._models.paths, self._hashes)

    def deadline(self) -> Callable[[ClipTrack], float]:
        """Return the deadline of a clip."""
        return partial(clip_deadline_s, seconds_per_frame=self._models.seconds_per_frame)

    def amount_of(self, record: ClipTrack) -> float:
        """Return the number of frames."""
        return record.num_frames

    def describe_finished(self, finished: Collection[ClipTrack]) -> str:
        """Return how many clips earlier runs encoded."""
        return f"{len(finished)} of {len(self.records)} clips"

    def assemble(self, results: Mapping[ClipTrack, StagedClip | Rejected]) -> None:
        """Write shards, card, rejections and index.

        Raises:
            StageError: no clip has samples.
        """
        directory = self._artifacts.shards
        _logger.info("%s", describe_counts("shards in all", results.values()))
        stored = [result for result in results.values() if isinstance(result, StagedClip)]
        rejects = [result for result in results.values() if isinstance(result, Rejected)]
        rows = write_shards(directory, stored, target_bytes=round(self._config.target_shard_mb * 1e6))
        write_card(directory, rows, self._card_context(write_examples(directory, rows), rejects))
        write_rejects(directory, rejects)
        write_index(directory, rows)
        if not stored:
            raise StageError(f"shards: none of {len(results)} clips has samples; see {directory / REJECTS_FILE}")
        self._cache.forget_all_but(self._keys.values())

    @property
    def _landmark_set(self) -> str:
        """Name of the set of the clips' landmarks: one run of `track` makes all of them."""
        return next((clip.landmark_set for clip in self.records), "mediapipe_478")

    def _card_context(self, examples: str, rejects: list[Rejected]) -> CardContext:
        # The card accounts for every input, so it counts what the stages before left out, too.
        before = [*read_rejects(self._artifacts.videos), *read_rejects(self._artifacts.tracks)]
        config = self._unnamed
        return CardContext(
            name=Path(self._ingest.recipe).parent.name,
            examples=examples,
            protocol=shards_protocol(
                size=config.size, crop_margin=config.crop_margin, head_parsing=config.head_parsing
            ),
            parameters=asdict(config),
            models=self._hashes,
            code=code_digest(ShardsStage.__module__),
            tools=self._libraries,
            rejects=Counter(rejected.reason for rejected in (*before, *rejects)),
        )

    def _content_keys(self) -> dict[ClipTrack, str]:
        """Return the content key of the samples of every tracked clip."""
        videos = {video.video_id: video for video in read_videos(self._artifacts.videos)}
        tracks = self._artifacts.tracks
        check_complete(videos, read_track_files(tracks, videos), read_rejects(tracks))
        return {
            clip: content_key(
                clip_id=clip.clip_id,
                track=file.sha256,
                labels=[clip.video.name, clip.video.identity, clip.video.license, clip.video.split],
                settings=replace(self._unnamed, target_shard_mb=0.0),  # lays out shards, changes no sample
                models=self._hashes,
                code=code_digest(ShardsStage.__module__),
                libraries=self._libraries,
            )
            for file in read_track_files(tracks, videos)
            if isinstance(file.result, TrackedVideo)
            for clip in file.result.clips
        }
