"""Parts of the data set by identity: a person is in one part only, and stays there as the data grows."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from mggtalk.records import Split


def split_of(identity: str, val_fraction: float, test_fraction: float) -> Split:
    """Return the part that a person belongs to, by the SHA-256 of the identity alone.

    The first 64 bits of the hash, as a number in [0, 1), are compared with the fractions: test comes first, then val,
    the rest is train. A new identity therefore moves no other, and a larger fraction only moves
    identities into that split.
    """
    position = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "big") / 2**64
    if position < test_fraction:
        return Split.TEST
    return Split.VAL if position < test_fraction + val_fraction else Split.TRAIN


@dataclass(frozen=True, slots=True)
class StatedInterval:
    """An interval of a video with the part of the data set that a recipe states for it; None: it states none.

    Attributes:
        where: file and line of the recipe that name it, as messages say it.
    """

    video: str
    start_s: float
    end_s: float
    split: Split | None
    where: str


def split_conflict(intervals: Iterable[StatedInterval]) -> tuple[StatedInterval, StatedInterval] | None:
    """Return two intervals of one video that overlap but are of different splits; None if there are none.

    A frame that is trained on must not be tested on.
    """
    latest: dict[tuple[str, Split | None], StatedInterval] = {}  # that which ends last, of those that began so far
    for interval in sorted(intervals, key=lambda one: (one.video, one.start_s)):
        for split in (None, *Split):
            other = latest.get((interval.video, split))
            if other and split != interval.split and other.end_s > interval.start_s:
                return other, interval
        before = latest.setdefault((interval.video, interval.split), interval)
        if interval.end_s > before.end_s:
            latest[interval.video, interval.split] = interval
    return None
