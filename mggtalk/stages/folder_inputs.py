"""What lies below the folder of a recipe, and what its labels say about it."""

import csv
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NoReturn

from mggtalk.errors import RecipeError

_NO_LABEL = {"", "-"}
_LABEL_COLUMNS = ("identity", "license")


def files_below(folder: Path) -> Iterator[Path]:
    """Yield all that is below `folder` and no folder, hidden files and folders excepted, in no particular order.

    Links to folders are followed. A folder that several paths lead to is read once, by the path without links if there
    is one: so links in a circle end.

    Raises:
        RecipeError: a folder cannot be read.
    """
    seen: set[str] = set()
    starts = deque([folder])
    while starts:
        for parent, folders, files in os.walk(starts.popleft(), onerror=_refuse):
            real = os.path.realpath(parent)
            visible = [] if real in seen else sorted(name for name in folders if not name.startswith("."))
            links = [Path(parent, name) for name in visible if Path(parent, name).is_symlink()]
            if real not in seen:
                yield from (Path(parent, name) for name in files if not name.startswith("."))
            seen.add(real)
            starts.extend(links)
            folders[:] = visible  # what is left here is read next; of links, `os.walk` reads none


def read_labels(path: Path) -> dict[str, dict[str, str]]:
    """Return file -> `identity` and `license`, each empty where the labels say nothing.

    Raises:
        RecipeError: the file is no CSV table with the columns `file` and one of the others, or a row is wrong.
    """
    labels: dict[str, dict[str, str]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as content:
            rows = csv.reader(content, strict=True)
            columns = _columns(path, next(rows, []))
            for cells in filter(None, rows):
                where = f"{path}: line {rows.line_num}"
                if len(cells) > len(columns):
                    raise RecipeError(
                        f"{where}: got {len(cells)} cells; expected {len(columns)}: quote those with commas"
                    )
                row = dict(zip(columns, map(str.strip, cells), strict=False))
                name = _file_name(row.get("file", ""), where)
                if name in labels:
                    raise RecipeError(f"{where}: file: {name} is there twice")
                labels[name] = {key: _label(row.get(key, "")) for key in _LABEL_COLUMNS}
    except (OSError, UnicodeDecodeError, csv.Error) as cause:
        raise RecipeError(f"{path}: cannot be read as CSV: {cause}") from cause
    return labels


def _columns(path: Path, header: list[str]) -> list[str]:
    columns = [name.strip() for name in header]
    there = f"columns there: {', '.join(columns) or 'none'}"
    if "file" not in columns:
        raise RecipeError(f"{path}: no column 'file'; {there}")
    if not set(_LABEL_COLUMNS) & set(columns):
        raise RecipeError(f"{path}: neither a column 'identity' nor 'license'; {there}")
    if twice := sorted({name for name in columns if name and columns.count(name) > 1}):
        raise RecipeError(f"{path}: the column {twice[0]!r} is there twice; {there}")
    return columns


def _file_name(value: str, where: str) -> str:
    name = PurePosixPath(value)
    if not name.name or name.is_absolute() or ".." in name.parts:
        raise RecipeError(f"{where}: file: got {value!r}; expected a path below the folder")
    return name.as_posix()


def _label(value: str) -> str:
    return "" if value in _NO_LABEL else value


def _refuse(cause: OSError) -> NoReturn:
    raise RecipeError(f"{cause.filename}: the folder cannot be read: {cause.strerror}") from cause
