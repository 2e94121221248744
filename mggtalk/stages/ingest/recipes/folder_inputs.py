"""Lists the files below the folder of a recipe, and reads their labels."""

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NoReturn

from mggtalk.errors import RecipeError
from mggtalk.stages.ingest.recipes.csv_tables import Row, read_csv

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
            folders[:] = visible  # `os.walk` reads these next; it follows no links


def read_labels(path: Path) -> dict[str, dict[str, str]]:
    """Return file -> `identity` and `license`, each empty where the labels say nothing.

    Raises:
        RecipeError: the file is no CSV table with the columns `file` and one of the others, or a row is wrong.
    """
    labels: dict[str, dict[str, str]] = {}
    for row in read_csv(path, needed=["file"], one_of=_LABEL_COLUMNS):
        name = _file_name(row)
        if name in labels:
            raise RecipeError(f"{row.where}: file: {name} is there twice")
        labels[name] = {key: row.text(key) for key in _LABEL_COLUMNS}
    return labels


def _file_name(row: Row) -> str:
    name = PurePosixPath(row.cells.get("file", ""))
    if not name.name or name.is_absolute() or ".." in name.parts:
        raise row.fault("file", "a path below the folder")
    return name.as_posix()


def _refuse(cause: OSError) -> NoReturn:
    raise RecipeError(f"{cause.filename}: the folder cannot be read: {cause.strerror}") from cause
