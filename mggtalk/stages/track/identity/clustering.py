"""Which clips show the same person, told from face embeddings.

Two thresholds, for what is known beforehand differs: clips of one file most likely show one person, so only what is
surely different parts them; clips of different files most likely show different people, so only what is surely the same
joins them. Distances are Euclidean, between means of dlib's descriptors over a clip's faces; docs/results.md has the
measurements that the thresholds come from.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist, pdist

SAME_PERSON = 0.4
"""Largest mean distance between files of one person; dlib's own 0.6 is for single faces, and joins strangers here."""
SAME_FILE = 0.55
"""Largest mean distance between clips of one person in one file."""
CHANGED_PERSON = 0.5
"""Least `change` of a clip in which one person takes the place of another."""

_FILE_DIGITS = 16  # of a clip id: the beginning of the file's hash
_BLOCK = 1024

Embeddings = Float64[np.ndarray, "num_rows size"]


@dataclass(frozen=True, slots=True, eq=False)
class FaceCluster:
    """One person in one file: the clips, and the mean of their embeddings. `number` tells several of a file apart."""

    file: str
    number: int
    clip_ids: tuple[str, ...]
    embedding: Float64[np.ndarray, " size"]


def file_of(clip_id: str) -> str:
    """Return the beginning of the hash of the file that a clip is from."""
    return clip_id[:_FILE_DIGITS]


def cluster_faces(embeddings: Mapping[str, Sequence[float]]) -> list[FaceCluster]:
    """Return the people of each file, by file, then in the order of their first clip id.

    Args:
        embeddings: by clip id.
    """
    files = defaultdict(list)
    for clip_id, embedding in sorted(embeddings.items()):
        files[file_of(clip_id)].append((clip_id, np.asarray(embedding, np.float64)))
    face_clusters = []
    for file, clips in sorted(files.items()):
        rows = np.stack([embedding for _, embedding in clips])
        labels = _linked(rows, SAME_FILE)
        for number, label in enumerate(dict.fromkeys(labels.tolist())):
            members = np.flatnonzero(labels == label)
            clip_ids = tuple(clips[member][0] for member in members)
            face_clusters.append(FaceCluster(file, number, clip_ids, rows[members].mean(0)))
    return face_clusters


def cluster(face_clusters: Sequence[FaceCluster], threshold: float = SAME_PERSON) -> list[list[FaceCluster]]:
    """Return the face_clusters by person, each and all in the order of `face_clusters`.

    Average linkage, cut at `threshold`. No cluster reaches across a gap of more than that, so linkage runs within
    connected components only: memory grows with their size, and what is new moves only what it is connected to.
    """
    if not face_clusters:
        return []
    rows = np.stack([face_cluster.embedding for face_cluster in face_clusters])
    first, second, _ = close_pairs(rows, rows, threshold)
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(len(rows), len(rows)))
    _, components = connected_components(graph, directed=False)
    clusters = []
    for component in dict.fromkeys(components.tolist()):
        members = np.flatnonzero(components == component)
        labels = _linked(rows[members], threshold)
        clusters += [members[labels == label].tolist() for label in dict.fromkeys(labels.tolist())]
    return [[face_clusters[member] for member in members] for members in sorted(clusters)]


def close_pairs(
    first: Embeddings, second: Embeddings, threshold: float
) -> tuple[Int64[np.ndarray, " num_pairs"], Int64[np.ndarray, " num_pairs"], Float64[np.ndarray, " num_pairs"]]:
    """Return rows of `first`, rows of `second` and distances of all pairs within `threshold`, in blocks of memory."""
    rows, columns, distances = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0)]
    for start in range(0, len(first), _BLOCK):
        block = cdist(first[start : start + _BLOCK], second)
        near = np.nonzero(block <= threshold)
        rows.append(near[0] + start)
        columns.append(near[1])
        distances.append(block[near])
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(distances)


def _linked(rows: Embeddings, threshold: float) -> Int64[np.ndarray, " num_rows"]:
    """Return a label for each row: average linkage, cut at `threshold`."""
    if len(rows) == 1:
        return np.zeros(1, np.int64)
    return np.asarray(fcluster(linkage(pdist(rows), "average"), threshold, "distance"), np.int64)
