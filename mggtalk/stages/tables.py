"""Tables between the stages: frozen dataclasses, one a row, as Parquet files that appear whole and are byte-stable."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar, cast, get_origin, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from mggtalk.errors import StageError
from mggtalk.files import atomic_path
from mggtalk.records import Rejected

RowT = TypeVar("RowT")

REJECTS_FILE = "rejects.parquet"
CLIPS_FILE = "clips.parquet"

_COLUMN_TYPES = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    tuple[float, ...]: pa.list_(pa.field("element", pa.float64(), nullable=False)),
}


def schema_of(row_type: type) -> pa.Schema:
    """Return the Parquet schema of a dataclass of str, int, float, bool, tuples of float and string enumerations."""
    hints = get_type_hints(row_type)
    return pa.schema([pa.field(f.name, _column_type(hints[f.name]), nullable=False) for f in fields(row_type)])


def write_rows(path: Path, rows: Sequence[RowT], row_type: type[RowT]) -> None:
    """Write `rows` in their order; the same rows give the same bytes, and the file appears whole."""
    schema = schema_of(row_type)
    columns = {name: [getattr(row, name) for row in rows] for name in schema.names}
    with atomic_path(path) as partial:
        pq.write_table(pa.table(columns, schema=schema), partial, compression="zstd")


def read_rows(path: Path, row_type: type[RowT]) -> list[RowT]:
    """Return the rows of a table.

    Raises:
        StageError: the file is missing, damaged, or has other columns than `row_type` has fields.
    """
    if not path.is_file():
        raise StageError(f"{path}: no such file; run the stage that writes it first")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as cause:
        raise StageError(f"{path}: cannot be read as Parquet") from cause
    expected = schema_of(row_type)
    if not table.schema.equals(expected, check_metadata=False):
        got, wanted = (", ".join(f"{f.name}: {f.type}" for f in schema) for schema in (table.schema, expected))
        raise StageError(f"{path}: got the columns {got}; expected {wanted}; run the stage that writes it again")
    converters = {name: to_field for name, hint in get_type_hints(row_type).items() if (to_field := _converter(hint))}
    return [row_type(**_typed(row, converters)) for row in table.to_pylist()]


def write_rejects(directory: Path, rejects: Sequence[Rejected]) -> None:
    """Write `rejects.parquet`, sorted by key."""
    ordered = sorted(rejects, key=lambda reject: (reject.key, reject.reason, reject.detail))
    write_rows(directory / REJECTS_FILE, ordered, Rejected)


def read_rejects(directory: Path) -> list[Rejected]:
    """Return the rows of `rejects.parquet`.

    Raises:
        StageError: the table is missing or damaged.
    """
    return read_rows(directory / REJECTS_FILE, Rejected)


def _column_type(hint: Any) -> pa.DataType:
    return pa.string() if _is_enumeration(hint) else _COLUMN_TYPES[hint]


def _converter(hint: Any) -> Callable[[Any], Any] | None:
    """Return the conversion of a Parquet value to a field; None where they are the same."""
    if get_origin(hint) is tuple:
        return tuple
    return cast("type[StrEnum]", hint) if _is_enumeration(hint) else None


def _is_enumeration(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, StrEnum)


def _typed(row: dict[str, Any], converters: dict[str, Callable[[Any], Any]]) -> dict[str, Any]:
    return row | {name: to_field(row[name]) for name, to_field in converters.items()}
