"""Parts of the data set by identity: a person is in one part only, and stays there as the data grows."""

import hashlib

from mggtalk.records import Split


def split_of(identity: str, val_fraction: float, test_fraction: float) -> Split:
    """Return the part that a person belongs to, by the SHA-256 of the identity alone.

    The first 64 bits of the hash, as a number in [0, 1), are compared with the fractions: test comes first, then val,
    the rest is train. So a new person moves nobody, and a larger fraction only moves people into that part.
    """
    place = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "big") / 2**64
    if place < test_fraction:
        return Split.TEST
    return Split.VAL if place < test_fraction + val_fraction else Split.TRAIN
