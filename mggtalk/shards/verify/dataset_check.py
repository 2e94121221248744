"""Checks a data set of shards to its last byte.

A shard's bytes follow from its members, the index from the shards, the card from the index, and the shard of a clip
from all clips. So each is computed again from the data it follows from, and compared; see docs/shards.md.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from mggtalk.errors import SchemaVersionError, ShardError
from mggtalk.records import Split
from mggtalk.shards.card.card import CARD_JSON, CARD_TEXT
from mggtalk.shards.card.examples import EXAMPLES
from mggtalk.shards.card.stats import light_rows
from mggtalk.shards.index import SampleRow, read_index, row_at, write_table
from mggtalk.shards.schema import INDEX_NAME, SCHEMA_VERSION, parse_meta
from mggtalk.shards.verify.card_check import check_card, read_card
from mggtalk.shards.verify.examples_check import check_examples
from mggtalk.shards.verify.issues import Issue
from mggtalk.shards.verify.layout_check import LocatedSample, check_layout
from mggtalk.shards.verify.shard_check import check_shard
from mggtalk.shards.verify.table_check import check_rejects, check_table
from mggtalk.shards.verify.tar_walk import walk_tar

REJECTS_NAME = "rejects.parquet"


@dataclass(slots=True)
class Verification:
    """Result of a check: how much was read, the issues, and notes on differences that are no issue."""

    num_shards: int = 0
    num_samples: int = 0
    num_bytes: int = 0
    issues: list[Issue] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def verify(root: Path, *, fast: bool = False, advance: Callable[[int], None] = lambda _: None) -> Verification:
    """Check everything under `root`.

    Args:
        fast: do not decode the members; their bytes are still compared to the index's hashes.
        advance: called with the number of shard bytes checked since the last call.

    Raises:
        ShardError: there is no such folder. SchemaVersionError: index and samples are of another schema version.
    """
    if not root.is_dir():
        raise ShardError(f"{root}: no such folder")
    result = Verification()
    table = _read_index(root, result)
    by_shard: defaultdict[str, list[int]] = defaultdict(list)
    for index, shard in enumerate(table["shard"].to_pylist() if table is not None else []):
        by_shard[shard].append(index)
    on_disk = shard_names(root)
    samples: list[LocatedSample] = []
    for shard in sorted({*on_disk, *by_shard}):
        indexed = None if table is None else {row.key: row for row in _rows(table, by_shard[shard])}
        if shard not in on_disk:
            result.issues.append(Issue(shard, "missing, but the index has samples in it"))
            samples += [LocatedSample.of(row, shard) for row in (indexed or {}).values()]
            continue
        result.num_shards += 1
        result.num_bytes += (root / shard).stat().st_size
        for row in check_shard(root, shard, indexed, result.issues, fast=fast, advance=advance):
            samples.append(LocatedSample.of(row, shard))
    result.num_samples = len(samples)
    result.issues += check_layout(samples, _target_bytes(root))
    if table is not None:
        result.issues += check_card(root, light_rows(table))
    examples = _stated_examples(root)
    if examples:
        check_examples(root, examples, table, result.issues, result.notes)
    _check_files(root, {*on_disk, *by_shard, *([] if examples == "" else [EXAMPLES])}, result)
    return result


def shard_names(root: Path) -> list[str]:
    """Return the paths, relative to `root`, of the shards on disk, sorted."""
    return sorted(f"{split}/{path.name}" for split in Split for path in (root / split).glob("*.tar") if path.is_file())


def _read_index(root: Path, result: Verification) -> pa.Table | None:
    """Read the index and check that it is consistent in itself; return None if it cannot be read."""
    path = root / INDEX_NAME
    try:
        table = read_index(root)
        table.validate(full=True)
        _check_no_nulls(table)
        rows = light_rows(table)
    except SchemaVersionError as error:
        if not _knows_samples(root):
            raise
        result.issues.append(Issue(INDEX_NAME, f"{error}; but the samples are of version {SCHEMA_VERSION}"))
        return None
    except (ShardError, pa.ArrowException) as cause:
        result.issues.append(Issue(INDEX_NAME, f"cannot be read: {cause}"))
        return None
    if len({row.key for row in rows}) < len(rows):
        result.issues.append(Issue(INDEX_NAME, "a sample has several rows"))
    check_table(path, lambda again: write_table(again.parent, table), result.issues, result.notes)
    return table


def _check_no_nulls(table: pa.Table) -> None:
    for name in table.column_names:
        column = table[name]
        values = pc.list_flatten(column) if pa.types.is_list(column.type) else column
        if name != "audio_dbfs" and (column.null_count or values.null_count):
            raise ShardError(f"column {name}: a row has no value")


def _knows_samples(root: Path) -> bool:
    """Return whether the first sample has this reader's schema version; then an index with another one is damaged."""
    for shard in shard_names(root)[:1]:
        for member in walk_tar(root / shard, shard, {}, []):
            try:
                parse_meta(member.data, shard)
            except ShardError:
                return False
            return True
    return False


def _rows(table: pa.Table, indices: list[int]) -> Iterator[SampleRow]:
    return (row_at(table, index) for index in indices)


def _target_bytes(root: Path) -> int | None:
    """Return the target size of the shards as the card states it; None if it states none."""
    try:
        return round(float(read_card(root)["parameters"]["target_shard_mb"]) * 1e6)
    except (ShardError, KeyError, TypeError, ValueError, OverflowError):
        return None  # `check_card` reports it


def _stated_examples(root: Path) -> str | None:
    """Return the hash of `examples.jpg` that the card states, empty if it has none; None if the card is unreadable."""
    try:
        return str(read_card(root).get("examples", ""))
    except ShardError:
        return None  # `check_card` reports it


def _check_files(root: Path, others: set[str], result: Verification) -> None:
    """Report files that do not belong, and check the table of rejects, which no other check reads.

    Args:
        others: shards and images that belong.
    """
    belongs = {INDEX_NAME, CARD_JSON, CARD_TEXT, REJECTS_NAME, *others}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_dir():
            if name not in list(Split) or not any(path.iterdir()):
                result.issues.append(Issue(name, "a folder that does not belong here"))
        elif name not in belongs:
            result.issues.append(Issue(name, "a file that does not belong here"))
    if (root / REJECTS_NAME).is_file():
        check_rejects(root / REJECTS_NAME, result.issues, result.notes)
