"""Checks `examples.jpg`: draws it again from the shards and compares, and compares its hash to the card's."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mggtalk.errors import ShardError
from mggtalk.shards.card.card import CARD_JSON
from mggtalk.shards.card.examples import EXAMPLES, choose_examples, draw_examples
from mggtalk.shards.card.stats import light_rows
from mggtalk.shards.codecs import images
from mggtalk.shards.index import iterate_rows
from mggtalk.shards.verify.issues import Issue

# Two versions of a decoder or encoder differ by a level or two, another image by dozens.
_MOST_MEAN_LEVELS = 3.0


def check_examples(root: Path, stated: str, table: pa.Table | None, issues: list[Issue], notes: list[str]) -> None:
    """Compare the image to the one that the shards give, and its hash to the card's.

    Another version of OpenCV may write other bytes. That is a note, not an issue, if the file has the card's hash and
    the two images look the same.

    Args:
        stated: SHA-256 in the card.
        table: the index; None if it is damaged. Then, or if a shown shard is damaged, only the hash is compared.
    """
    try:
        content = (root / EXAMPLES).read_bytes()
    except FileNotFoundError:
        issues.append(Issue(EXAMPLES, "missing, but the card names it"))
        return
    except OSError as cause:
        issues.append(Issue(EXAMPLES, f"cannot be read: {cause}"))
        return
    digest = hashlib.sha256(content).hexdigest()
    expected = None if table is None else _draw(root, table)
    if digest != stated:
        blamed = CARD_JSON if content == expected else EXAMPLES
        issues.append(Issue(blamed, f"SHA-256 of {EXAMPLES}", expected=stated, got=digest))
    elif expected is not None and content != expected:
        if _look_alike(content, expected):
            notes.append(f"{EXAMPLES}: shows what the shards hold; another version of OpenCV wrote it")
        else:
            issues.append(Issue(EXAMPLES, "not the image that the shards give"))


def _draw(root: Path, table: pa.Table) -> bytes | None:
    """Return the image that the shards give; None if a shown crop cannot be read, which other checks report."""
    examples = choose_examples(light_rows(table))
    keys = [example.key for part in examples for example in part]
    try:
        return draw_examples(root, iterate_rows(table.filter(pc.is_in(table["key"], pa.array(keys)))), examples)
    except ShardError:
        return None


def _look_alike(content: bytes, expected: bytes) -> bool:
    try:
        ours, theirs = images.decode_rgb(expected).astype(np.int16), images.decode_rgb(content).astype(np.int16)
    except ValueError:
        return False
    return ours.shape == theirs.shape and float(np.abs(ours - theirs).mean()) <= _MOST_MEAN_LEVELS
