"""Writes files that appear whole or not at all, so that a killed run leaves no half-written file under a final name."""

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL_SUFFIX = ".partial"

METRICS_LINES = "metrics.jsonl"
"""Log of a training if DVCLive is not installed: one JSON object per line."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a file beside `path` to write; on success rename it to `path`, otherwise remove it.

    At every moment `path` has the old content or all of the new one. The bytes reach the disk before the name does, so
    a power cut cannot leave a name without its bytes. A killed process leaves the `.partial` file behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL_SUFFIX}")
    try:
        yield partial
        _sync(partial)
        partial.replace(path)
    except OSError as fault:
        if fault.errno is not None and fault.filename is None:
            fault.filename = str(path)  # the error of a full disk names no file
        raise
    finally:
        partial.unlink(missing_ok=True)
    _sync(path.parent)


def atomic_write(path: Path, content: bytes) -> None:
    """Write `content` to `path` through `atomic_path`."""
    with atomic_path(path) as partial:
        partial.write_bytes(content)


def prune(directory: Path, keep: Collection[str]) -> list[str]:
    """Remove all entries of `directory` whose name is not in `keep`, and return the removed names, sorted.

    Partial files that a killed `atomic_path` left are removed too.
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


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
