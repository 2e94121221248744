"""Reads hand-written CSV tables strictly: every fault names the file, the line and the column."""

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mggtalk.errors import RecipeError
from mggtalk.stages.ingest.items import LONGEST_S

_NONE = {"", "-"}
_CLOCK = re.compile(r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2}(?:\.\d+)?)")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the cells by column, stripped. `line` is where it ends in the file."""

    path: Path
    line: int
    cells: Mapping[str, str]

    def text(self, column: str | None) -> str:
        """Return a cell; empty if there is no such column, or if it holds `-`."""
        cell = self.cells.get(column, "") if column else ""
        return "" if cell in _NONE else cell

    def number(self, column: str) -> float:
        """Return a cell as a finite number.

        Raises:
            RecipeError: it is none.
        """
        value = finite_number(self.text(column))
        if value is None:
            raise self.fault(column, "a number")
        return value

    def seconds(self, column: str) -> float:
        """Return a cell as seconds; it holds a number, `mm:ss` or `hh:mm:ss`.

        Raises:
            RecipeError: it holds anything else, or is negative.
        """
        cell = self.text(column)
        seconds = clock_seconds(cell) if ":" in cell else self.number(column)
        if seconds is None or not 0 <= seconds < LONGEST_S:
            raise self.fault(column, "seconds, mm:ss or hh:mm:ss")
        return seconds

    def fault(self, column: str, expected: str) -> RecipeError:
        """Return the error that names the expected content of a cell."""
        return RecipeError(f"{self.where}: column {column!r}: got {self.cells.get(column, '')!r}; expected {expected}")

    @property
    def where(self) -> str:
        """File and line of the row, as messages name them."""
        return f"{self.path}: line {self.line}"


def finite_number(text: str) -> float | None:
    """Return a decimal number; None if it is none, or not finite."""
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    return value if math.isfinite(value) else None


def clock_seconds(text: str) -> float | None:
    """Return `mm:ss` or `hh:mm:ss`, the seconds with a fraction or without, as seconds; None if it is neither."""
    match = _CLOCK.fullmatch(text)
    if not match or float(match[3]) >= 60 or (match[1] and int(match[2]) >= 60):
        return None
    return int(match[1] or 0) * 3600 + int(match[2]) * 60 + float(match[3])


def read_csv(path: Path, *, needed: Sequence[str], one_of: Sequence[str] = (), delimiter: str = ",") -> Iterator[Row]:
    """Yield the rows of a table whose first row names the columns. Empty lines are passed over.

    Args:
        needed: columns that have to be there. one_of: one of these has to be there as well.

    Raises:
        RecipeError: the file cannot be read, a column is missing or there twice, or a row has too many cells.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as content:
            rows = csv.reader(content, strict=True, delimiter=delimiter)
            columns = [name.strip() for name in next(rows, [])]
            _check_columns(path, columns, needed, one_of)
            for cells in (cells for cells in rows if any(map(str.strip, cells))):  # spreadsheets write empty rows
                if len(cells) > len(columns):
                    expected = f"got {len(cells)} cells; expected {len(columns)}: quote those with commas"
                    raise RecipeError(f"{path}: line {rows.line_num}: {expected}")
                yield Row(path, rows.line_num, dict(zip(columns, map(str.strip, cells), strict=False)))
    except (OSError, UnicodeDecodeError, csv.Error) as cause:
        raise RecipeError(f"{path}: cannot be read as CSV: {cause}") from cause


def _check_columns(path: Path, columns: list[str], needed: Sequence[str], one_of: Sequence[str]) -> None:
    there = f"columns there: {', '.join(columns) or 'none'}"
    if missing := [name for name in needed if name not in columns]:
        raise RecipeError(f"{path}: no column {missing[0]!r}; {there}")
    if one_of and not set(one_of) & set(columns):
        raise RecipeError(f"{path}: neither a column {' nor '.join(map(repr, one_of))}; {there}")
    if twice := sorted({name for name in columns if name and columns.count(name) > 1}):
        raise RecipeError(f"{path}: the column {twice[0]!r} is there twice; {there}")
