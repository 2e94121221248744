"""Scores face embeddings and their clusters of unlabelled videos against identity labels.

    python -m benchmarks.identities --artifacts artifacts --labels labels.csv

The artifacts are those of `track` with `identity_encoder: dlib` on a recipe without labels. The labels are a CSV file
with the columns `file` and `identity` (`-`: no single known person).
"""

import argparse
import csv
from itertools import combinations
from pathlib import Path

import numpy as np

from mggtalk.errors import StageError
from mggtalk.stages.track.identity.clustering import SAME_FILE, SAME_PERSON, FaceCluster, cluster_faces
from mggtalk.stages.track.identity.resolution import ClipIdentity, read_identities

_PERCENTILES = (0, 5, 50, 95, 100)


def main() -> None:
    """Print the distances and the clusters."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"))
    parser.add_argument("--labels", type=Path, required=True)
    options = parser.parse_args()
    people = read_identities(options.artifacts / "tracks")
    if people is None:
        raise StageError(f"{options.artifacts}: no identities; run `track` with identity_encoder: dlib")
    with options.labels.open(newline="", encoding="utf-8") as file:
        labels = {row["file"]: row["identity"] for row in csv.DictReader(file) if row["identity"] not in {"", "-"}}
    clips = {clip_id: row for clip_id, row in people.items() if row.name in labels and row.embedding}
    looks = cluster_faces({clip_id: row.embedding for clip_id, row in clips.items()})
    print_distances(clips, looks, labels)
    print_clusters(clips, looks, labels)


def print_distances(clips: dict[str, ClipIdentity], looks: list[FaceCluster], labels: dict[str, str]) -> None:
    """Print percentiles of the distances between clips of one file, and between files."""
    print(f"{len(clips)} clips, {len(looks)} faces in files; least, 5 %, median, 95 %, most:")
    within = [
        float(np.linalg.norm(np.subtract(one.embedding, other.embedding)))
        for one, other in combinations(clips.values(), 2)
        if one.name == other.name
    ]
    _print(f"clips of one file (joined up to {SAME_FILE})", within)
    same: list[float] = []
    different: list[float] = []
    for one, other in combinations(looks, 2):
        is_same = _label(one, clips, labels) == _label(other, clips, labels)
        (same if is_same else different).append(float(np.linalg.norm(one.embedding - other.embedding)))
    _print(f"files of one person (joined up to {SAME_PERSON})", same)
    _print("files of two people", different)
    for threshold in (0.35, 0.4, 0.45, 0.5, 0.6):
        found, wrong = (sum(value <= threshold for value in values) for values in (same, different))
        print(f"  within {threshold}: {found} of {len(same)} pairs of one person, {wrong} of {len(different)} of two")


def print_clusters(clips: dict[str, ClipIdentity], looks: list[FaceCluster], labels: dict[str, str]) -> None:
    """Print the precision and recall of pairs of faces in one cluster."""
    pairs = [
        (_label(one, clips, labels) == _label(other, clips, labels), _identity(one, clips) == _identity(other, clips))
        for one, other in combinations(looks, 2)
    ]
    right = sum(is_same and is_joined for is_same, is_joined in pairs)
    joined, same = sum(is_joined for _, is_joined in pairs), sum(is_same for is_same, _ in pairs)
    print(f"clusters: pairwise precision {right} / {joined}, recall {right} / {same}")
    for one, other in combinations(looks, 2):
        if (_label(one, clips, labels) == _label(other, clips, labels)) != (
            _identity(one, clips) == _identity(other, clips)
        ):
            print(f"  wrong: {clips[one.clip_ids[0]].name}, {clips[other.clip_ids[0]].name}")


def _label(look: FaceCluster, clips: dict[str, ClipIdentity], labels: dict[str, str]) -> str:
    return labels[clips[look.clip_ids[0]].name]


def _identity(look: FaceCluster, clips: dict[str, ClipIdentity]) -> str:
    return clips[look.clip_ids[0]].identity


def _print(name: str, values: list[float]) -> None:
    print(
        f"  {name}, {len(values)} pairs: {', '.join(f'{value:.2f}' for value in np.percentile(values, _PERCENTILES))}"
    )


if __name__ == "__main__":
    main()
