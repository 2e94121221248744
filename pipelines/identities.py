"""Part of the stage `track`: finds out who is in each clip; see `mggtalk.stages.track.identity`.

Embeddings lie in `identities/`, one file a video, under a content key: new videos cost only themselves. Identities are
resolved anew from all of them, which takes a moment, and lie in `identities.parquet`; `read_track_files` lays them over
the clips.
"""

import logging
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from operator import attrgetter
from pathlib import Path

from mggtalk.errors import StageError
from mggtalk.fingerprint import code_digest, content_key, library_versions
from mggtalk.geometry.head.landmark_sets import landmark_set
from mggtalk.perception.identity import DlibIdentityEncoder, IdentityUnavailable, load_identity_encoder
from mggtalk.records import Rejected, TrackedVideo, VideoRecord
from mggtalk.result_cache import ResultCache
from mggtalk.runtime.isolated_stage import WithVideoFile, isolated, part_deadline_s
from mggtalk.runtime.stage_runner import run_stage
from mggtalk.stages.ingest.config import IngestConfig
from mggtalk.stages.tables import read_rows, write_rows
from mggtalk.stages.track.identity.embedding import (
    ClipEmbedding,
    FaceEncoder,
    IdentityStage,
    VideoFaces,
    choose_video_faces,
)
from mggtalk.stages.track.identity.resolution import PEOPLE_FILE, ClipIdentity, resolve, write_people
from mggtalk.stages.track.track_files import read_track_files
from mggtalk.weights.table import model_hash, require

_logger = logging.getLogger(__name__)

MODEL = "dlib_face_recognition"
LIBRARIES = ("av", "dlib-bin", "numpy", "opencv-contrib-python")
EMBEDDINGS_DIRECTORY = "identities"


def identify(
    tracks: Path, videos: Mapping[str, VideoRecord], encoder: str, landmarks: str, config: IngestConfig
) -> None:
    """Find out who is in each clip that `track` has kept, or, with the encoder `none`, forget who was.

    Args:
        tracks: folder of the stage. videos: those that the track files are of, by video id.
        encoder: `none` or `dlib`. landmarks: name of the clips' landmark set.
        config: says how the identities without a split fall into parts.

    Raises:
        StageError: dlib is not installed. WeightsError: its weights are missing.
    """
    if encoder == "none":
        (tracks / PEOPLE_FILE).unlink(missing_ok=True)
        shutil.rmtree(tracks / EMBEDDINGS_DIRECTORY, ignore_errors=True)
        return
    weights = require(MODEL)
    if isinstance(loaded := load_identity_encoder(weights), IdentityUnavailable):
        raise StageError(f"track.identity_encoder: {encoder}: {loaded.reason}")
    identify_with(
        tracks, videos, partial(DlibIdentityEncoder, weights, landmark_set(landmarks)), model_hash(MODEL), config
    )


def identify_with(
    tracks: Path,
    videos: Mapping[str, VideoRecord],
    encoder: Callable[[], FaceEncoder],
    encoder_hash: str,
    config: IngestConfig,
) -> None:
    """Do the same with an encoder that `encoder` builds in each worker; its hash stands for it in content keys."""
    files = ResultCache(tracks / EMBEDDINGS_DIRECTORY, ".parquet")
    clips: dict[str, VideoRecord] = {}
    keys: dict[str, str] = {}  # by the first clip of a track file
    to_do: list[VideoFaces] = []
    for file in read_track_files(tracks, videos, identified=False):
        if isinstance(file.result, TrackedVideo) and file.result.clips:
            clips |= {clip.clip_id: file.record for clip in file.result.clips}
            keys[file.result.clips[0].clip_id] = key = _key(file.sha256, encoder_hash)
            if not files.path(key).is_file():
                to_do.append(choose_video_faces(file.result))
    files.prune(list(keys.values()))

    def keep(faces: VideoFaces, results: list[ClipEmbedding | Rejected]) -> None:
        embeddings = [result for result in results if isinstance(result, ClipEmbedding)]
        if embeddings:
            write_rows(files.path(keys[faces.clips[0].clip_id]), embeddings, ClipEmbedding)
        for lost in (result for result in results if isinstance(result, Rejected)):
            _logger.warning("identities: %s: %s: %s; the next run tries again", lost.key, lost.reason, lost.detail)

    stage = isolated(partial(IdentityStage, encoder), "name", part_deadline_s)
    run_stage(
        partial(WithVideoFile, stage, "name", attrgetter("video")),
        to_do,
        name="identities",
        key_of=attrgetter("name"),
        on_result=keep,
        amount_of=_num_faces,
        amount_unit="face",
    )
    finished = [path for path in map(files.path, keys.values()) if path.is_file()]
    embeddings = {row.clip_id: row for path in finished for row in read_rows(path, ClipEmbedding)}
    people = resolve(clips, embeddings, config)
    write_people(tracks, people)
    _logger.info("identities: %s", _summary(people))


def _key(track_sha256: str, encoder_hash: str) -> str:
    return content_key(
        track=track_sha256,
        encoder=encoder_hash,
        code=code_digest("mggtalk.stages.track.identity.embedding"),
        libraries=library_versions(*LIBRARIES),
    )


def _summary(people: list[ClipIdentity]) -> str:
    found = sum(person.identity != person.labelled for person in people)
    blind = sum(not person.embedding for person in people)
    who = len({person.identity for person in people})
    return f"{who} people in {len(people)} clips; {found} clips joined to others', {blind} without an embedding"


def _num_faces(faces: VideoFaces) -> float:
    return sum(len(clip.frame_index) for clip in faces.clips)
