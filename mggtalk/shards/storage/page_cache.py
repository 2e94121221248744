"""A bounded folder of pages of remote files, which any number of processes may share.

Entries are named by the hash that the index states for them, so they never go stale: a changed data set has other
names. Their content is not trusted: the reader checks it. The least recently used pages go first.
"""

import logging
import os
import tempfile
from pathlib import Path

_logger = logging.getLogger(__name__)

_SWEPT_TO = 0.9
"""Fraction of the limit that a sweep leaves, so that not every write needs one."""

_UNSWEPT = 1 / 64
"""Fraction of the limit that a process writes before it sweeps, which also counts the pages of other processes."""

_PARTIAL_SUFFIX = ".partial"


class PageCache:
    """Keeps up to `limit_bytes` of pages in `folder`.

    Entries appear whole, by rename. Up to six processes stay within the limit; each further one may exceed it by a 64th
    for a while. If the folder cannot be written to, pages are not kept, and reading goes on.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit = limit_bytes
        # Bytes since the last sweep; the first write sweeps. An estimate, because threads may lose count of a page.
        self._written = limit_bytes
        self._warned = False

    def read(self, key: str, offset: int, size: int) -> bytes | None:
        """Return bytes of the page `key`, fewer where it ends earlier; None if it is not cached."""
        path = self._path(key)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            os.utime(descriptor)  # records the use, because file systems seldom keep access times
            return os.pread(descriptor, size, offset)
        except OSError:
            return None
        finally:
            os.close(descriptor)

    def write(self, key: str, page: bytes) -> None:
        """Keep a page, unless it is larger than the limit."""
        if len(page) > self._limit:
            return
        try:
            self._make_room(len(page))
            _write_whole(self._path(key), page)
        except OSError as cause:
            if not self._warned:
                _logger.warning("shards: %s: pages are not kept: %s", self._folder, cause)
            self._warned = True

    def _make_room(self, size: int) -> None:
        self._written += size
        if self._written > self._limit * _UNSWEPT:
            self._written = size
            _sweep(self._folder, max(int(self._limit * _SWEPT_TO) - size, 0))

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / key


def _write_whole(path: Path, content: bytes) -> None:
    """Write by rename, without waiting for the disk, because a page torn by a power cut is detected when it is read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(dir=path.parent, suffix=_PARTIAL_SUFFIX)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.replace(partial, path)  # noqa: PTH105  `mkstemp` gives a string
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def _sweep(folder: Path, limit_bytes: int) -> None:
    """Remove the least recently used pages until `limit_bytes` are left; other processes may sweep at the same time."""
    entries = []
    for path in folder.glob("??/*"):
        try:
            state = path.stat()
        except FileNotFoundError:
            continue
        entries.append((state.st_mtime_ns, state.st_size, path))
    excess = sum(size for _, size, _ in entries) - limit_bytes
    for _, size, path in sorted(entries):
        if excess <= 0:
            return
        path.unlink(missing_ok=True)  # partial files that killed writers left age like the rest
        excess -= size
