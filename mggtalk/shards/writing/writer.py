"""Assembles shards from staged clips by copying bytes; memory does not grow with the data."""

import hashlib
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

from mggtalk.errors import ShardError
from mggtalk.files import PARTIAL_SUFFIX, atomic_path
from mggtalk.records import Split
from mggtalk.shards.index import SampleRow
from mggtalk.shards.schema import INDEX_NAME
from mggtalk.shards.writing.prefix_tree import assign_leaves, shard_name
from mggtalk.shards.writing.staging import TAR_END, StagedClip

_logger = logging.getLogger(__name__)


def write_shards(root: Path, clips: Iterable[StagedClip], *, target_bytes: int) -> tuple[SampleRow, ...]:
    """Write `{train,val,test}/PREFIX.tar` under `root` and return the index rows, sorted by key.

    The bytes depend on the set of clips and on `target_bytes` alone. Shards without clips are removed, and the old
    index is removed before anything changes: write the new one with `write_index` after everything else.

    Args:
        target_bytes: a larger shard is split, unless it holds a single clip.

    Raises:
        ShardError: a staged clip's bytes are not those that its rows describe.
        ValueError: a clip was given twice.
    """
    staged = _by_id(clips)
    (root / INDEX_NAME).unlink(missing_ok=True)
    rows: list[SampleRow] = []
    for split in Split:
        sizes = {clip_id: clip.size_bytes for clip_id, clip in staged.items() if clip.rows[0].split is split}
        for prefix, clip_ids in assign_leaves(sizes, target_bytes).items():
            rows += _write_shard(root, f"{split}/{shard_name(prefix)}", [staged[clip_id] for clip_id in clip_ids])
    _remove_stale(root, keep={row.shard for row in rows})
    _logger.info("shards: %d samples of %d clips in %s", len(rows), len(staged), root)
    return tuple(sorted(rows, key=lambda row: row.key))


def _by_id(clips: Iterable[StagedClip]) -> Mapping[str, StagedClip]:
    staged: dict[str, StagedClip] = {}
    for clip in clips:
        if clip.clip_id in staged:
            raise ValueError(f"clip {clip.clip_id}: given twice, in {staged[clip.clip_id].path} and {clip.path}")
        staged[clip.clip_id] = clip
    return staged


def _write_shard(root: Path, shard: str, clips: list[StagedClip]) -> list[SampleRow]:
    rows: list[SampleRow] = []
    with atomic_path(root / shard) as partial, partial.open("wb") as target:
        for clip in clips:
            with clip.path.open("rb") as source:
                for row in clip.rows:
                    rows.append(row.relocated(shard, target.tell()))
                    _copy_sample(source, target, row, clip.path)
        target.write(TAR_END)
    return rows


def _copy_sample(source: BinaryIO, target: BinaryIO, row: SampleRow, path: Path) -> None:
    source.seek(row.offset)
    data = source.read(row.size_bytes)
    digest = hashlib.sha256(data).hexdigest()
    if digest != row.sha256:
        raise ShardError(
            f"{path}: sample {row.key}: changed since it was staged: sha256 {digest}, expected {row.sha256}"
        )
    target.write(data)


def _remove_stale(root: Path, keep: set[str]) -> None:
    for split in Split:
        directory = root / split
        for path in [*directory.glob("*.tar"), *directory.glob(f"*{PARTIAL_SUFFIX}")]:
            if f"{split}/{path.name}" not in keep:
                path.unlink()
        if directory.is_dir() and not any(directory.iterdir()):
            directory.rmdir()
