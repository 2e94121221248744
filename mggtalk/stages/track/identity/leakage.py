"""Finds people who stand in more than one part of the data set: by their identity, or by their face."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, groupby

import numpy as np
from scipy.spatial.distance import cdist

from mggtalk.records import Split
from mggtalk.stages.ingest.splits import split_of
from mggtalk.stages.track.identity.clustering import CHANGED_PERSON, SAME_FILE, SAME_PERSON, cluster_faces
from mggtalk.stages.track.identity.resolution import ClipIdentity
from mggtalk.stages.track.tables import ClipRow

_SECONDS_PER_HOUR = 3600
_BLOCK = 1024


@dataclass(frozen=True, slots=True)
class CheckedClip:
    """What the check needs to know of a clip; `embedding` is empty where there is none."""

    clip_id: str
    name: str
    identity: str
    split: Split
    seconds: float
    embedding: tuple[float, ...] = ()
    change: float = 0.0


@dataclass(frozen=True, slots=True)
class SplitCount:
    """How much is in a part of the data set."""

    identities: int
    clips: int
    hours: float


@dataclass(frozen=True, slots=True)
class SharedIdentity:
    """A person in several parts: the number of clips in each, and the videos."""

    identity: str
    clips: dict[str, int]
    videos: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """A face: one person in one file, with the name of the video."""

    identity: str
    split: Split
    video: str


@dataclass(frozen=True, slots=True)
class LookPair:
    """Two faces, and the distance between their mean embeddings."""

    distance: float
    first: Look
    second: Look


@dataclass(frozen=True, slots=True)
class SplitLeakageReport:
    """What the check found.

    Attributes:
        splits: what is in each part.
        not_by_hash: identities that are not in the part that their hash says; a recipe may state that.
        shared: identities in several parts. leaked_faces: one face in several parts under two identities.
        twins: one face under two identities in one part. strangers: two faces under one identity.
        closest_apart: the closest faces in different parts that are no leak.
        changed: clips in which one person seems to take another's place, by the names of their videos.
        num_embedded, num_clips: clips with an embedding, and all.
    """

    splits: dict[str, SplitCount]
    not_by_hash: tuple[str, ...]
    shared: tuple[SharedIdentity, ...]
    leaked_faces: tuple[LookPair, ...]
    twins: tuple[LookPair, ...]
    strangers: tuple[LookPair, ...]
    closest_apart: LookPair | None
    changed: tuple[str, ...]
    num_embedded: int
    num_clips: int

    @property
    def num_leaks(self) -> int:
        """Number of issues that spoil the split."""
        return len(self.shared) + len(self.leaked_faces)


def checked_clips(rows: Iterable[ClipRow], people: Mapping[str, ClipIdentity] | None) -> list[CheckedClip]:
    """Return the clips of the two tables; identity and split are the resolved ones where there are any."""
    clips = []
    for row in rows:
        seconds, found = row.num_frames / row.fps, (people or {}).get(row.clip_id)
        if found is None:
            clips.append(CheckedClip(row.clip_id, row.name, row.identity, row.split, seconds))
        else:
            seen = (found.identity, found.split, seconds, found.embedding, found.change)
            clips.append(CheckedClip(row.clip_id, row.name, *seen))
    return clips


def find_split_leakage(
    clips: Sequence[CheckedClip], val_fraction: float, test_fraction: float, same_person: float = SAME_PERSON
) -> SplitLeakageReport:
    """Check that nobody is in two parts.

    Args:
        val_fraction, test_fraction: of the identities whose part the recipe does not state.
        same_person: distance up to which two faces are one.
    """
    by_identity = {identity: list(members) for identity, members in groupby(_by_identity(clips), _identity)}
    looks = _looks(by_identity)
    close, apart = _pairs(looks, same_person)
    return SplitLeakageReport(
        splits={str(split): _count([clip for clip in clips if clip.split is split]) for split in Split},
        not_by_hash=tuple(
            identity
            for identity, members in by_identity.items()
            if {clip.split for clip in members} != {split_of(identity, val_fraction, test_fraction)}
        ),
        shared=tuple(_shared(members) for members in by_identity.values() if len({c.split for c in members}) > 1),
        leaked_faces=tuple(pair for pair in close if pair.first.split is not pair.second.split),
        twins=tuple(pair for pair in close if pair.first.split is pair.second.split),
        strangers=tuple(_strangers(looks)),
        closest_apart=apart,
        changed=tuple(sorted({clip.name for clip in clips if clip.change >= CHANGED_PERSON})),
        num_embedded=sum(bool(clip.embedding) for clip in clips),
        num_clips=len(clips),
    )


def _identity(clip: CheckedClip) -> str:
    return clip.identity


def _by_identity(clips: Iterable[CheckedClip]) -> list[CheckedClip]:
    return sorted(clips, key=lambda clip: (clip.identity, clip.clip_id))


def _count(clips: Sequence[CheckedClip]) -> SplitCount:
    hours = sum(clip.seconds for clip in clips) / _SECONDS_PER_HOUR
    return SplitCount(len({clip.identity for clip in clips}), len(clips), round(hours, 4))


def _shared(members: Sequence[CheckedClip]) -> SharedIdentity:
    clips = {str(split): sum(clip.split is split for clip in members) for split in Split}
    videos = tuple(sorted({clip.name for clip in members}))
    return SharedIdentity(members[0].identity, {split: count for split, count in clips.items() if count}, videos)


def _looks(by_identity: Mapping[str, Sequence[CheckedClip]]) -> list[tuple[Look, np.ndarray]]:
    """Return the faces of every identity in every part, with their embeddings."""
    looks = []
    for members in by_identity.values():
        for split in Split:
            seen = {clip.clip_id: clip for clip in members if clip.split is split and clip.embedding}
            for face in cluster_faces({clip_id: clip.embedding for clip_id, clip in seen.items()}):
                first = seen[face.clip_ids[0]]
                looks.append((Look(first.identity, split, first.name), face.embedding))
    return looks


def _pairs(looks: Sequence[tuple[Look, np.ndarray]], same_person: float) -> tuple[list[LookPair], LookPair | None]:
    """Return the closest pair of each two identities with one face, and the closest faces in two parts with two."""
    close: dict[tuple[str, Split, str, Split], LookPair] = {}
    apart: LookPair | None = None
    for first, second in combinations_with_replacement(Split, 2):
        for pair in _crossing(looks, first, second, same_person):
            if pair.distance <= same_person:
                key = (pair.first.identity, first, pair.second.identity, second)
                close[key] = min(close.get(key, pair), pair, key=_distance)
            elif first is not second:
                apart = min(apart or pair, pair, key=_distance)
    return sorted(close.values(), key=_distance), apart


def _crossing(
    looks: Sequence[tuple[Look, np.ndarray]], first: Split, second: Split, same_person: float
) -> Iterator[LookPair]:
    """Yield the pairs of different identities in two parts, or in one, within `same_person`, and the next closest."""
    ones = [look for look in looks if look[0].split is first]
    others = [look for look in looks if look[0].split is second]
    names = np.array([look.identity for look, _ in others])
    for start in range(0, len(ones) if others else 0, _BLOCK):
        block = ones[start : start + _BLOCK]
        distances = cdist(np.stack([row for _, row in block]), np.stack([row for _, row in others]))
        distances[np.array([look.identity for look, _ in block])[:, None] == names] = np.inf
        if first is second:  # each pair once
            distances[np.arange(len(block))[:, None] + start >= np.arange(len(others))] = np.inf
        beyond = np.where(distances > same_person, distances, np.inf)
        near = {
            *zip(*np.nonzero(distances <= same_person), strict=True),
            np.unravel_index(beyond.argmin(), beyond.shape),
        }
        for row, column in sorted((int(row), int(column)) for row, column in near):
            if np.isfinite(distances[row, column]):
                yield LookPair(round(float(distances[row, column]), 4), block[row][0], others[column][0])


def _strangers(looks: Sequence[tuple[Look, np.ndarray]]) -> Iterator[LookPair]:
    """Yield the two faces of each identity that are the furthest from each other, if they are of two people."""
    by_identity = defaultdict(list)
    for look, row in looks:
        by_identity[look.identity].append((look, row))
    for faces in by_identity.values():
        rows = np.stack([row for _, row in faces])
        distances = cdist(rows, rows)
        one, other = np.unravel_index(distances.argmax(), distances.shape)
        if distances[one, other] > SAME_FILE:
            yield LookPair(round(float(distances[one, other]), 4), faces[one][0], faces[other][0])


def _distance(pair: LookPair) -> float:
    return pair.distance
