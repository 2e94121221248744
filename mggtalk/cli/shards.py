"""`mggtalk shards verify | stats | card | ls`: is the data set sound, and what is in it?"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from mggtalk.cli.inspect import find_clip
from mggtalk.errors import ShardError, VerificationError
from mggtalk.runtime.progress import Progress
from mggtalk.shards.card.card import CARD_TEXT
from mggtalk.shards.card.stats import light_rows, statistics
from mggtalk.shards.index import SampleRow, iterate_rows, read_index
from mggtalk.shards.reader import Shards
from mggtalk.shards.verify.dataset_check import Verification, shard_names, verify

_MB = 1_000_000
_COUNTS = ("identities", "videos", "clips", "samples", "frames", "source_frames", "hours", "shards", "bytes")
_SAMPLE_FIELDS = ("key", "shard", "num_frames", "source_frames", "size_bytes")


def verify_shards(root: Path, *, fast: bool, as_json: bool) -> None:
    """Print everything that is wrong with the shards at `root`, or one line if nothing is.

    Raises:
        VerificationError: something is. ShardError: as `verify`.
    """
    size = sum((root / shard).stat().st_size for shard in shard_names(root))
    done = 0
    with Progress("verify", size // _MB, "MB") as progress:

        def advance(num_bytes: int) -> None:
            nonlocal done
            done += num_bytes
            progress.reach(done // _MB)

        result = verify(root, fast=fast, advance=advance)
    print(json.dumps(asdict(result), indent=2, ensure_ascii=False) if as_json else "\n".join(_verdict(root, result)))
    if result.issues:
        raise VerificationError(f"{root}: {_issues(result)}")


def print_stats(root: Path, *, as_json: bool) -> None:
    """Print counts, hours, sizes and quality of the shards at `root`, from their index.

    Raises:
        ShardError: no index, or it is damaged.
    """
    content = statistics(read_index(root))
    print(json.dumps(content, indent=2, ensure_ascii=False) if as_json else "\n".join(_stats_lines(content)))


def print_card(root: Path) -> None:
    """Print `CARD.md`.

    Raises:
        ShardError: it is missing or cannot be read.
    """
    try:
        print((root / CARD_TEXT).read_text(encoding="utf-8"), end="")
    except FileNotFoundError:
        raise ShardError(f"{root / CARD_TEXT}: no such file") from None
    except (OSError, UnicodeDecodeError) as cause:
        raise ShardError(f"{root / CARD_TEXT}: cannot be read: {cause}") from None


def list_samples(root: Path, clip: str | None = None, *, split: str | None = None, as_json: bool = False) -> None:
    """Print a line for each sample; for each member of the samples of `clip` if that is given.

    Raises:
        ShardError: no index, or it is damaged; no such clip, or several.
    """
    table = read_index(root)
    if clip is None:
        samples = (row for row in light_rows(table) if split in (None, row.split))
        records = (_sample_record(row) for row in samples)
    else:
        clip_id = find_clip(Shards(root), clip).clip_id
        rows = table.filter(pc.equal(table["clip_id"], clip_id))
        records = (member for row in iterate_rows(rows) if split in (None, row.split) for member in _members(row))
    _print_records(records, as_json=as_json)


def _verdict(root: Path, result: Verification) -> Iterator[str]:
    for issue in result.issues:
        yield f"WRONG  {issue}"
    for note in result.notes:
        yield f"note   {note}"
    checked = f"{result.num_samples} samples in {result.num_shards} shards, {result.num_bytes / _MB:.1f} MB"
    yield f"{root}: {_issues(result) if result.issues else 'sound'}: {checked}"


def _issues(result: Verification) -> str:
    return f"{len(result.issues)} issue{'s' if len(result.issues) > 1 else ''}"


def _stats_lines(content: dict[str, Any]) -> Iterator[str]:
    parts = {**content["splits"], "total": content["total"]}
    yield from _aligned([["split", *_COUNTS], *([part, *map(counts.get, _COUNTS)] for part, counts in parts.items())])
    qualities = [
        [part, name, *quantiles.values()]
        for part, quality in content["quality"].items()
        for name, quantiles in quality.items()
    ]
    if qualities:
        yield ""
        yield from _aligned([["split", "quality", *content["quality"]["total"]["face_size"]], *qualities])


def _aligned(rows: Sequence[Sequence[object]]) -> Iterator[str]:
    widths = [max(len(str(value)) for value in column) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{value!s:>{width}}" for value, width in zip(row, widths, strict=True))


def _sample_record(row: SampleRow) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in _SAMPLE_FIELDS}
    return values | {"source_frames": list(row.source_frames), "split": str(row.split), "clip_id": row.clip_id}


def _members(row: SampleRow) -> Iterator[dict[str, Any]]:
    for name, offset, size in zip(row.member_names, row.member_offsets, row.member_sizes, strict=True):
        yield {"key": row.key, "member": name, "shard": row.shard, "offset": offset, "size_bytes": size}


def _print_records(records: Iterable[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(list(records), indent=2, ensure_ascii=False))
        return
    for record in records:
        shown = [value for name, value in record.items() if name not in {"split", "clip_id"}]
        print(*(len(value) if isinstance(value, list) else value for value in shown), sep="\t")
