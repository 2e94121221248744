"""Computes a shuffle instead of storing it: one index takes microseconds and no memory, at any length.

A stored permutation of 10 million frames would cost every process 80 MB and half a second per epoch, and its order
would change with NumPy's generators; this one depends on a published hash alone.
"""

import math
from hashlib import blake2b

_ROUNDS = 8
"""Half rounds; six already pass the randomness tests."""


def hashed(*key: int) -> int:
    """Hash `key` to 64 bits, the same on every machine."""
    return int.from_bytes(blake2b(repr(key).encode(), digest_size=8).digest(), "little")


def permuted(position: int, size: int, *key: int) -> int:
    """Return the element at `position` of the permutation of `range(size)` that `key` selects.

    Source: J. Black and P. Rogaway, "Ciphers with arbitrary finite domains", 2002: a generalized Feistel network on a
    rectangle that covers the range; a value outside the range is permuted again until it falls inside.

    Raises:
        ValueError: `position` is not within the range.
    """
    if not 0 <= position < size:
        raise ValueError(f"position: got {position}, expected 0 to {size - 1}")
    rows = math.isqrt(size - 1) + 1
    columns = -(-size // rows)
    while True:
        row, column = divmod(position, columns)
        for step in range(_ROUNDS):
            if step % 2:
                row = (row + hashed(*key, step, column)) % rows
            else:
                column = (column + hashed(*key, step, row)) % columns
        position = row * columns + column
        if position < size:
            return position
