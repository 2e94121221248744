"""Which clips share a shard: the leaves of a prefix tree over clip ids.

The tree is a function of the set of clips and their sizes alone, so the order of arrival cannot matter, and a new clip
can only change the leaf whose prefix its id has: grow it, split it, or begin it.
"""

from collections import defaultdict
from collections.abc import Mapping

# The root's prefix is empty and cannot name a file.
ROOT_NAME = "all"


def assign_leaves(sizes: Mapping[str, int], target_bytes: int) -> dict[str, tuple[str, ...]]:
    """Return the leaves: prefix -> the clips whose ids begin with it, sorted; leaves come sorted too.

    A leaf of several clips that holds more than `target_bytes` splits by the next character of their ids (the video's
    hash comes first, so mostly a hex digit). No clips, no leaves.

    Args:
        sizes: bytes of each clip by clip id.

    Raises:
        ValueError: `target_bytes` is not positive.
    """
    if target_bytes <= 0:
        raise ValueError(f"target_bytes: expected a positive number, got {target_bytes}")
    leaves: dict[str, tuple[str, ...]] = {}
    pending = [("", tuple(sorted(sizes)))] if sizes else []
    while pending:
        prefix, clips = pending.pop()
        if len(clips) == 1 or sum(sizes[clip] for clip in clips) <= target_bytes:
            leaves[prefix] = clips
        else:
            pending += _split(clips, len(prefix) + 1).items()
    return dict(sorted(leaves.items()))


def shard_name(prefix: str) -> str:
    """Return the file name of the leaf `prefix`."""
    return f"{prefix or ROOT_NAME}.tar"


def _split(clips: tuple[str, ...], length: int) -> dict[str, tuple[str, ...]]:
    children: defaultdict[str, list[str]] = defaultdict(list)
    for clip in clips:
        # An id that ends here keeps its whole self as prefix: a leaf of its own, beside its longer siblings.
        children[clip[:length]].append(clip)
    return {prefix: tuple(members) for prefix, members in children.items()}
