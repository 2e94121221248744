"""Groups clips into shards: the leaves of a binary prefix tree over clip ids.

The tree depends on the set of clips and their sizes alone, so the order of arrival cannot matter. A new clip changes
only the leaf whose prefix its id has: it grows that leaf, splits it in two, or begins it. A half that is still too
large splits again, which takes a half smaller than the new clip; so almost always at most two shards change.
"""

from collections import defaultdict
from collections.abc import Mapping

# The root's prefix is empty and cannot name a file.
ROOT_NAME = "all"
_HEX = "0123456789abcdef"
_DIGIT_BITS, _OTHER_BITS = 5, 22
"""Bits of a hex digit (a 0 and its value), and of any other character (a 1 and its code point)."""


def assign_leaves(sizes: Mapping[str, int], target_bytes: int) -> dict[str, tuple[str, ...]]:
    """Return the leaves, in order of prefixes: name -> the clips whose ids begin with its prefix, sorted.

    A leaf of several clips that holds more than `target_bytes` splits by the next bit of their ids.

    Args:
        sizes: bytes of each clip by clip id.

    Raises:
        ValueError: `target_bytes` is not positive.
    """
    if target_bytes <= 0:
        raise ValueError(f"target_bytes: expected a positive number, got {target_bytes}")
    bits = {clip: id_bits(clip) for clip in sizes}
    leaves: dict[str, tuple[str, ...]] = {}
    pending = [("", tuple(sorted(sizes)))] if sizes else []
    while pending:
        prefix, clips = pending.pop()
        if len(clips) == 1 or sum(sizes[clip] for clip in clips) <= target_bytes:
            leaves[prefix] = clips
        else:
            halves: defaultdict[str, list[str]] = defaultdict(list)
            for clip in clips:
                halves[bits[clip][: len(prefix) + 1]].append(clip)
            pending += [(half, tuple(members)) for half, members in halves.items()]
    return {leaf_name(prefix): clips for prefix, clips in sorted(leaves.items())}


def id_bits(clip_id: str) -> str:
    """Return a clip id as zeros and ones, five for each hex digit; for ids of hex digits the order stays the same."""
    ended = f"{clip_id}\0"  # so that no id is a prefix of another
    return "".join(
        f"{_HEX.index(character):05b}" if character in _HEX else f"1{ord(character):021b}" for character in ended
    )


def leaf_name(prefix: str) -> str:
    """Return the name of a leaf: the whole characters of its prefix, then `.` and the bits of the next character.

    `3` means ids that begin with the digit 3, `3.1` with 3 and one of 8 to f, `all.01` with one of 4 to 7; the root is
    `all`. Names are unique because ids have no dots. None begins with `.` or `_`, which Ray and Arrow treat as hidden.
    """
    name = ""
    while len(prefix) >= (length := _DIGIT_BITS if prefix[:1] == "0" else _OTHER_BITS):
        name += _HEX[int(prefix[:length], 2)] if length == _DIGIT_BITS else chr(int(prefix[1:length], 2))
        prefix = prefix[length:]
    rest = prefix[1:] if prefix[:1] == "0" else prefix and f"x{prefix[1:]}"
    return (name or ROOT_NAME) + (f".{rest}" if rest else "")


def shard_name(leaf: str) -> str:
    """Return the file name of a leaf."""
    return f"{leaf}.tar"
