"""Draws `examples.jpg`: a few crops of a data set in one image, for its card; a function of the shards alone."""

import hashlib
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from mggtalk.errors import ShardError
from mggtalk.files import atomic_write
from mggtalk.records import Split
from mggtalk.shards import schema
from mggtalk.shards.codecs import images
from mggtalk.shards.index import SampleRow

EXAMPLES = "examples.jpg"
"""A row of crops for each split that has clips, in the order train, val, test."""

_CROPS_PER_SPLIT = 6
_SIDE_PX = 128
_QUALITY = 90


@dataclass(frozen=True, slots=True)
class Example:
    """One crop to show: frame `frame` of the sample `key`."""

    key: str
    frame: int


def choose_examples(rows: Iterable[SampleRow]) -> list[list[Example]]:
    """Choose the crops of each split that has clips: a source frame of each of the first people, in order of hashes.

    People are ordered by a hash of their names, because the names themselves follow the order of the videos. So one
    more person replaces at most one other.

    Args:
        rows: of the index; their members are not read.
    """
    first: dict[tuple[Split, str], SampleRow] = {}
    for row in rows:
        person = (row.split, row.identity)
        if person not in first or _rank(row.key) < _rank(first[person].key):
            first[person] = row
    ordered = sorted(first.values(), key=lambda row: _rank(row.identity))
    by_split = [[row for row in ordered if row.split is split][:_CROPS_PER_SPLIT] for split in Split]
    return [[Example(row.key, min(row.source_frames, default=0)) for row in part] for part in by_split if part]


def draw_examples(root: Path, rows: Iterable[SampleRow], examples: Sequence[Sequence[Example]]) -> bytes:
    """Return `examples.jpg` as bytes.

    Args:
        rows: complete rows of the samples shown; others are ignored.

    Raises:
        ShardError: a crop is missing or damaged.
    """
    by_key = {row.key: row for row in rows}
    widest = max(len(part) for part in examples)
    sheet = np.zeros((len(examples) * _SIDE_PX, widest * _SIDE_PX, 3), np.uint8)
    for line, part in enumerate(examples):
        for column, example in enumerate(part):
            top, left = line * _SIDE_PX, column * _SIDE_PX
            sheet[top : top + _SIDE_PX, left : left + _SIDE_PX] = _read(root, by_key[example.key], example.frame)
    return images.encode_rgb(sheet, _QUALITY)


def write_examples(root: Path, rows: Iterable[SampleRow]) -> str:
    """Write `examples.jpg` under `root` and return its SHA-256; without samples remove it and return an empty string.

    Raises:
        ShardError: as `draw_examples`.
    """
    rows = list(rows)
    examples = choose_examples(rows)
    if not examples:
        (root / EXAMPLES).unlink(missing_ok=True)
        return ""
    sheet = draw_examples(root, rows, examples)
    atomic_write(root / EXAMPLES, sheet)
    return hashlib.sha256(sheet).hexdigest()


def _rank(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _read(root: Path, row: SampleRow, frame: int) -> UInt8[np.ndarray, "side side 3"]:
    member = schema.rgb_member(frame)
    try:
        index = row.member_names.index(member)
        path = root / row.shard
        with path.open("rb") as shard:
            shard.seek(row.member_offsets[index])
            data = shard.read(min(row.member_sizes[index], path.stat().st_size))  # a damaged size may be any number
        image = _decode(data, row.member_crc32[index])
    except (ValueError, IndexError, OSError) as cause:
        raise ShardError(
            f"{root / row.shard}: sample {row.key}: member {member}: cannot be read for {EXAMPLES}: {cause}",
            shard=row.shard,
            sample=row.key,
            member=member,
        ) from None
    scaled: UInt8[np.ndarray, "side side 3"] = cv2.resize(image, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA)
    return scaled


def _decode(data: bytes, crc32: int) -> images.Image:
    if zlib.crc32(data) != crc32:
        raise ValueError("damaged: CRC-32")
    return images.decode_rgb(data)
