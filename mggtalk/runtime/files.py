"""Files that appear whole or not at all, so that a killed run leaves nothing half-written behind."""

import os
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path

_PARTIAL_PREFIX = ".partial-"


def atomic_write(path: Path, content: bytes) -> None:
    """Write `content` to `path`: at every moment the path holds the old content, or all of the new one.

    The folder is made if need be. The bytes reach the disk before the name does, so a power cut cannot leave a name
    without its bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=_PARTIAL_PREFIX, dir=path.parent)
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.chmod(0o644)  # mkstemp makes files that only their owner can read
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def prune(directory: Path, keep: Collection[str]) -> list[str]:
    """Remove everything directly in `directory` whose name is not in `keep`; return the names that went, sorted.

    Parts of files that a killed `atomic_write` left go as well.
    """
    if not directory.is_dir():
        return []
    removed = sorted(entry.name for entry in directory.iterdir() if entry.name not in keep)
    for name in removed:
        entry = directory / name
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    return removed


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
