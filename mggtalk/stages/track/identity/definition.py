"""A part of the stage `track`: face embeddings of every clip, and the identities that follow from them.

Embeddings are in `identities/`, one file a track file, under a content key: a new video costs only itself. Identities
are resolved anew from all of them, which takes a moment, and are in `identities.parquet`; `read_track_files` applies
them to the clips.
"""

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path

from mggtalk.errors import StageError
from mggtalk.fingerprint import code_digest, content_key, library_versions
from mggtalk.geometry.head.landmark_sets import landmark_set
from mggtalk.perception.identity import DlibIdentityEncoder, IdentityUnavailable, load_identity_encoder
from mggtalk.records import Rejected, RejectReason, TrackedVideo, VideoRecord
from mggtalk.result_cache import ResultCache
from mggtalk.stages.cached_stage import CachedStage, FileStore
from mggtalk.stages.ingest.config import IngestConfig
from mggtalk.stages.limits import part_deadline_s
from mggtalk.stages.tables import read_rows, write_rows
from mggtalk.stages.track.config import TrackConfig
from mggtalk.stages.track.identity.embedding import (
    ClipEmbedding,
    FaceEncoder,
    IdentityStage,
    VideoFaces,
    choose_video_faces,
)
from mggtalk.stages.track.identity.resolution import IDENTITIES_FILE, ClipIdentity, resolve, write_identities
from mggtalk.stages.track.track_files import read_track_files
from mggtalk.weights.table import model_hash, require

_logger = logging.getLogger(__name__)

MODEL = "dlib_face_recognition"
LIBRARIES = ("av", "dlib-bin", "numpy", "opencv-contrib-python")
EMBEDDINGS_DIRECTORY = "identities"


def identity_definition(
    config: TrackConfig, splits: IngestConfig, tracks: Path, videos: Mapping[str, VideoRecord]
) -> "IdentityDefinition":
    """Return the definition with the encoder that `track.identity_encoder` names.

    Raises:
        StageError: dlib is not installed. WeightsError: its weights are missing.
    """
    weights = require(MODEL)
    if isinstance(loaded := load_identity_encoder(weights), IdentityUnavailable):
        raise StageError(f"track.identity_encoder: {config.identity_encoder}: {loaded.reason}")
    encoder = partial(DlibIdentityEncoder, weights, landmark_set(config.backend.landmark_set))
    return IdentityDefinition(tracks, videos, encoder, model_hash(MODEL), splits)


def forget_identities(tracks: Path) -> None:
    """Remove embeddings and identities of runs that asked for them."""
    (tracks / IDENTITIES_FILE).unlink(missing_ok=True)
    shutil.rmtree(tracks / EMBEDDINGS_DIRECTORY, ignore_errors=True)


class IdentityDefinition(CachedStage[VideoFaces, ClipEmbedding, Path]):
    """Embeds a few faces of every clip, and writes who is in it.

    Args:
        tracks: folder of the stage. videos: those that the track files are of, by video id.
        encoder: builds the encoder in each worker. encoder_hash: stands for it in content keys.
        splits: says how identities without a split are divided.
    """

    name = "identities"
    record_name = "name"
    amount_unit = "face"
    retried = frozenset(RejectReason)
    video_of = attrgetter("video")

    def __init__(
        self,
        tracks: Path,
        videos: Mapping[str, VideoRecord],
        encoder: Callable[[], FaceEncoder],
        encoder_hash: str,
        splits: IngestConfig,
    ) -> None:
        self._tracks, self._encoder, self._splits = tracks, encoder, splits
        self._clips: dict[str, VideoRecord] = {}
        keys: dict[VideoFaces, str] = {}
        for file in read_track_files(tracks, videos, identified=False):
            if isinstance(file.result, TrackedVideo) and file.result.clips:
                self._clips |= {clip.clip_id: file.record for clip in file.result.clips}
                keys[choose_video_faces(file.result)] = _key(file.sha256, encoder_hash)
        self.records = list(keys)
        self.store: FileStore[VideoFaces, ClipEmbedding] = FileStore(
            ResultCache(tracks / EMBEDDINGS_DIRECTORY, ".parquet"), keys, _write_embeddings
        )

    def worker(self) -> Callable[[], IdentityStage]:
        """Return a factory of the stage that embeds the faces of one track file."""
        return partial(IdentityStage, self._encoder)

    def deadline(self) -> Callable[[VideoFaces], float]:
        """Return the deadline of a track file."""
        return part_deadline_s

    def amount_of(self, record: VideoFaces) -> float:
        """Return the number of faces."""
        return sum(len(clip.frame_index) for clip in record.clips)

    def prune(self) -> None:
        """Remove the embeddings of other tracks, encoders or code."""
        self.store.prune()

    def assemble(self, results: Mapping[VideoFaces, Path | Rejected]) -> None:
        """Resolve the identities of all clips and write `identities.parquet`."""
        paths = [path for faces in self.records if isinstance(path := results[faces], Path)]
        embeddings = {row.clip_id: row for path in paths for row in read_rows(path, ClipEmbedding)}
        identities = resolve(self._clips, embeddings, self._splits)
        write_identities(self._tracks, identities)
        _logger.info("identities: %s", _summary(identities))


def _write_embeddings(path: Path, _: VideoFaces, outputs: Sequence[ClipEmbedding | Rejected]) -> None:
    write_rows(path, [output for output in outputs if isinstance(output, ClipEmbedding)], ClipEmbedding)


def _key(track_sha256: str, encoder_hash: str) -> str:
    return content_key(
        track=track_sha256,
        encoder=encoder_hash,
        code=code_digest(IdentityStage.__module__),
        libraries=library_versions(*LIBRARIES),
    )


def _summary(identities: list[ClipIdentity]) -> str:
    found = sum(clip.identity != clip.labelled for clip in identities)
    without = sum(not clip.embedding for clip in identities)
    count = len({clip.identity for clip in identities})
    joined = f"{found} clips joined to others', {without} without an embedding"
    return f"{count} people in {len(identities)} clips; {joined}"
