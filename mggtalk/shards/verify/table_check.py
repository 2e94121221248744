"""Checks Parquet files whose bytes follow from their rows: written again, they must be the same."""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mggtalk.shards.verify.issues import Issue

_VERSION = re.compile(r"parquet-cpp-arrow version \d+\.\d+\.\d+")


def check_table(path: Path, write: Callable[[Path], object], issues: list[Issue], notes: list[str]) -> None:
    """Compare a Parquet file, which has been read without an error, to its rows written again.

    Another version of Arrow may write other bytes. That is a note, not an issue, because the rows themselves were
    compared.

    Args:
        write: writes the rows of `path` to the given path, which has the same name in another folder.
    """
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder) / path.name
        write(again)
        got, expected = path.read_bytes(), again.read_bytes()
        if got == expected:
            return
        theirs, ours = _writer(path), _writer(again)
    if theirs != ours and _VERSION.fullmatch(theirs):
        notes.append(
            f"{path.name}: its rows are right; its bytes cannot be compared: {theirs} wrote it, this is {ours}"
        )
        return
    offset = next((n for n, pair in enumerate(zip(got, expected, strict=False)) if pair[0] != pair[1]), None)
    where = f"from byte {offset} on" if offset is not None else "in length"
    sizes = (f"{len(expected)} bytes", f"{len(got)} bytes")
    issues.append(Issue(path.name, f"not the bytes that its rows give: differs {where}", "", "", *sizes))


def _writer(path: Path) -> str:
    try:
        return str(pq.read_metadata(path).created_by)
    except UnicodeDecodeError:
        return ""


def check_rejects(path: Path, issues: list[Issue], notes: list[str]) -> None:
    """Check `rejects.parquet`, in which the stage `shards` lists the clips that it rejected."""
    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
        table.validate(full=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as cause:
        issues.append(Issue(path.name, f"cannot be read: {' '.join(str(cause).split())}"))
        return
    if table.schema.names != ["key", "reason", "detail"]:
        issues.append(Issue(path.name, "columns", "", "", "key, reason, detail", ", ".join(table.schema.names)))
        return
    plain = pa.schema([field.remove_metadata() for field in table.schema])
    columns = table.combine_chunks().columns

    def write(target: Path) -> None:
        pq.write_table(pa.Table.from_arrays(columns, schema=plain), target, compression="zstd")

    check_table(path, write, issues, notes)
