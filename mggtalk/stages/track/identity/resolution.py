"""Identity and split of every clip: the recipe's label, or the person that the face embeddings find.

A video without a label counts as a person of its own (`video:HASH`) until its face is found in others. Then all of them
take the label of those that have one, or else the identity of the video whose hash is the smallest. So nobody is
renamed but people who are found again, and the result is a function of the videos, not of the order they came in.
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
    """Who a clip shows: a row of `identities.parquet`.

    Attributes:
        name: the video's name in the recipe. labelled: the identity that `ingest` gave the video.
        identity, split: what counts.
        cluster: the identity of the clip's look-alikes among the unlabelled; differs from `identity` where a label took
            its place. Empty for labelled videos and without an embedding.
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


def resolve(
    videos: Mapping[str, VideoRecord], embeddings: Mapping[str, ClipEmbedding], config: IngestConfig
) -> list[ClipIdentity]:
    """Return who is in each clip, sorted by clip id.

    Two people whom the recipe labels stay two, however alike they look: `mggtalk splits check` reports them.

    Args:
        videos: the video of every clip, by clip id. embeddings: by clip id, of those that have one.
    """
    identities = {clip_id: video.identity for clip_id, video in videos.items()}
    seen = {clip_id: found.embedding for clip_id, found in embeddings.items()}
    strangers = {i: embedding for i, embedding in seen.items() if _is_unknown(videos[i])}
    labelled = _labelled_faces({i: embedding for i, embedding in seen.items() if i not in strangers}, identities)
    clusters = {}
    for people in cluster(cluster_faces(strangers)):
        name = _name(people[0])
        label = labelled.nearest(people) or name
        for clip_id in (clip_id for person in people for clip_id in person.clip_ids):
            identities[clip_id], clusters[clip_id] = label, name
    splits = _splits(videos, identities, config)
    return [
        _row(i, videos[i], identities[i], splits[i], clusters.get(i, ""), embeddings.get(i)) for i in sorted(videos)
    ]


def split_stays(video: VideoRecord) -> bool:
    """Tell whether a video keeps the split that `ingest` gave it: it is labelled, or the recipe states the split."""
    return video.split_stated or not _is_unknown(video)


def write_identities(tracks: Path, people: Sequence[ClipIdentity]) -> None:
    """Write `identities.parquet` below the folder of the tracks."""
    write_rows(tracks / IDENTITIES_FILE, people, ClipIdentity)


def read_identities(tracks: Path) -> dict[str, ClipIdentity] | None:
    """Return `identities.parquet` by clip id; None where nobody asked for identities.

    Raises:
        StageError: it is damaged, or was written by another version.
    """
    path = tracks / IDENTITIES_FILE
    return {row.clip_id: row for row in read_rows(path, ClipIdentity)} if path.exists() else None


def _is_unknown(video: VideoRecord) -> bool:
    return video.identity.startswith(UNKNOWN_IDENTITY)


def _name(person: FaceCluster) -> str:
    """Return the identity of a cluster after its first member, by hash; the second person of a file is its `-2`."""
    return f"{UNKNOWN_IDENTITY}{person.file}" + (f"-{person.number + 1}" if person.number else "")


@dataclass(frozen=True, slots=True, eq=False)
class _Labelled:
    """The faces that labelled people are known by: an embedding a row, and the number of its owner among `names`."""

    names: tuple[str, ...]
    owners: Int64[np.ndarray, " num_rows"]
    embeddings: Float64[np.ndarray, "num_rows size"]

    def nearest(self, people: Sequence[FaceCluster]) -> str | None:
        """Return who looks like `people`, on average over all faces of both; None if nobody does."""
        if not self.names:
            return None
        to_each = cdist(np.stack([person.embedding for person in people]), self.embeddings).mean(axis=0)
        distances = np.bincount(self.owners, to_each) / np.bincount(self.owners)
        return self.names[int(distances.argmin())] if distances.min() <= SAME_PERSON else None


def _labelled_faces(known: Mapping[str, Sequence[float]], identities: Mapping[str, str]) -> _Labelled:
    """Return for each labelled person, of each file, the face that it shows most."""
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

    That of a labelled video, and one that the recipe states, stays. The others go with their person: where such clips
    of the person are, if they are all in one part, or else by the hash of the identity.
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
