"""Resolves identity and split of every clip: the recipe's label, or the identity that the face embeddings give.

A video without a label has an identity of its own (`video:HASH`) until its face is found in other videos. Then all of
them take the label of those that have one, or else the identity of the video with the smallest hash. Only identities
that are found again are renamed, and the result depends on the videos, not on the order in which they came.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64
from scipy.spatial.distance import cdist

from mggtalk.records import Split, VideoRecord
from mggtalk.stages.ingest.config import IngestConfig
from mggtalk.stages.ingest.items import UNKNOWN_IDENTITY
from mggtalk.stages.ingest.splits import split_of
from mggtalk.stages.tables import read_rows, write_rows
from mggtalk.stages.track.identity.clustering import SAME_PERSON, FaceCluster, cluster, cluster_faces
from mggtalk.stages.track.identity.embedding import ClipEmbedding

IDENTITIES_FILE = "identities.parquet"


@dataclass(frozen=True, slots=True)
class ClipIdentity:
    """The identity of a clip: a row of `identities.parquet`.

    Attributes:
        name: the video's name in the recipe. labelled: the identity that `ingest` gave the video.
        identity, split: as resolved.
        cluster: the identity of the clip's face cluster among the unlabelled; differs from `identity` where a label
            replaced it. Empty for labelled videos and without an embedding.
        embedding: empty where none could be made. change, num_faces: as in `ClipEmbedding`.
    """

    clip_id: str
    name: str
    labelled: str
    identity: str
    split: Split
    cluster: str
    embedding: tuple[float, ...]
    change: float
    num_faces: int


def resolve_identities(
    videos: Mapping[str, VideoRecord], embeddings: Mapping[str, ClipEmbedding], config: IngestConfig
) -> list[ClipIdentity]:
    """Return the identity of each clip, sorted by clip id.

    Two people whom the recipe labels stay two, however alike they look: `mggtalk splits check` reports them.

    Args:
        videos: the video of every clip, by clip id. embeddings: by clip id, of those that have one.
    """
    identities = {clip_id: video.identity for clip_id, video in videos.items()}
    seen = {clip_id: found.embedding for clip_id, found in embeddings.items()}
    strangers = {i: embedding for i, embedding in seen.items() if _is_unknown(videos[i])}
    labelled = _labelled_faces({i: embedding for i, embedding in seen.items() if i not in strangers}, identities)
    clusters = {}
    for faces in cluster(cluster_faces(strangers)):
        name = _name(faces[0])
        label = labelled.nearest(faces) or name
        for clip_id in (clip_id for face in faces for clip_id in face.clip_ids):
            identities[clip_id], clusters[clip_id] = label, name
    splits = _splits(videos, identities, config)
    return [
        _row(i, videos[i], identities[i], splits[i], clusters.get(i, ""), embeddings.get(i)) for i in sorted(videos)
    ]


def split_stays(video: VideoRecord) -> bool:
    """Tell whether a video keeps the split that `ingest` gave it: it is labelled, or the recipe states the split."""
    return video.split_stated or not _is_unknown(video)


def write_identities(tracks: Path, identities: Sequence[ClipIdentity]) -> None:
    """Write `identities.parquet` below the folder of the tracks."""
    write_rows(tracks / IDENTITIES_FILE, identities, ClipIdentity)


def read_identities(tracks: Path) -> dict[str, ClipIdentity] | None:
    """Return `identities.parquet` by clip id; None where nobody asked for identities.

    Raises:
        StageError: it is damaged, or was written by another version.
    """
    path = tracks / IDENTITIES_FILE
    return {row.clip_id: row for row in read_rows(path, ClipIdentity)} if path.exists() else None


def _is_unknown(video: VideoRecord) -> bool:
    return video.identity.startswith(UNKNOWN_IDENTITY)


def _name(face: FaceCluster) -> str:
    """Return the identity of a cluster after its first member, by hash; the second person of a file is its `-2`."""
    return f"{UNKNOWN_IDENTITY}{face.file}" + (f"-{face.number + 1}" if face.number else "")


@dataclass(frozen=True, slots=True, eq=False)
class _Labelled:
    """The faces of labelled identities: an embedding a row, and the index of its owner in `names`."""

    names: tuple[str, ...]
    owners: Int64[np.ndarray, " num_rows"]
    embeddings: Float64[np.ndarray, "num_rows size"]

    def nearest(self, faces: Sequence[FaceCluster]) -> str | None:
        """Return the identity that is close to `faces`, on average over all faces of both; None if there is none."""
        if not self.names:
            return None
        to_each = cdist(np.stack([face.embedding for face in faces]), self.embeddings).mean(axis=0)
        distances = np.bincount(self.owners, to_each) / np.bincount(self.owners)
        return self.names[int(distances.argmin())] if distances.min() <= SAME_PERSON else None


def _labelled_faces(known: Mapping[str, Sequence[float]], identities: Mapping[str, str]) -> _Labelled:
    """Return for each labelled identity, of each file, the face that is in most of its clips."""
    by_identity: defaultdict[str, dict[str, Sequence[float]]] = defaultdict(dict)
    for clip_id, embedding in known.items():
        by_identity[identities[clip_id]][clip_id] = embedding
    names, faces = tuple(sorted(by_identity)), []
    for owner, name in enumerate(names):
        most: dict[str, FaceCluster] = {}
        for face_cluster in cluster_faces(by_identity[name]):
            if len(face_cluster.clip_ids) > len(most.setdefault(face_cluster.file, face_cluster).clip_ids):
                most[face_cluster.file] = face_cluster
        faces += [(owner, face_cluster.embedding) for face_cluster in most.values()]
    return _Labelled(names, np.array([owner for owner, _ in faces], np.int64), np.array([row for _, row in faces]))


def _splits(videos: Mapping[str, VideoRecord], identities: Mapping[str, str], config: IngestConfig) -> dict[str, Split]:
    """Return the split of each clip.

    That of a labelled video, and one that the recipe states, stays. The others go with their identity: where such
    clips of the identity are, if they are all in one split, or else by the hash of the identity.
    """
    stays = {clip_id for clip_id, video in videos.items() if split_stays(video)}
    settled: defaultdict[str, set[Split]] = defaultdict(set)
    for clip_id in stays:
        settled[identities[clip_id]].add(videos[clip_id].split)
    splits = {}
    for clip_id, identity in identities.items():
        if clip_id in stays:
            splits[clip_id] = videos[clip_id].split
        elif len(settled[identity]) == 1:
            (splits[clip_id],) = settled[identity]
        else:
            splits[clip_id] = split_of(identity, config.val_fraction, config.test_fraction)
    return splits


def _row(
    clip_id: str, video: VideoRecord, identity: str, split: Split, look_alikes: str, seen: ClipEmbedding | None
) -> ClipIdentity:
    return ClipIdentity(
        clip_id=clip_id,
        name=video.name,
        labelled=video.identity,
        identity=identity,
        split=split,
        cluster=look_alikes,
        embedding=seen.embedding if seen else (),
        change=seen.change if seen else 0.0,
        num_faces=seen.num_faces if seen else 0,
    )
