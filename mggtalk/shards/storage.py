"""Byte ranges of the files of a data set in a local directory."""

import os
from functools import lru_cache, partial
from pathlib import Path

# Far below the usual limit of 1024 open files of a process, with room for others.
_MAX_OPEN_FILES = 128


class LocalStorage:
    """Reads byte ranges with `pread`, which moves no file position: safe to share between threads and across a fork."""

    def __init__(self, root: Path) -> None:
        self._open = lru_cache(maxsize=_MAX_OPEN_FILES)(partial(_OpenFile, root))

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Return the bytes `offset` to `offset + size` of the file `name`; fewer where it ends before.

        Raises:
            OSError: the file is missing or cannot be read.
        """
        file = self._open(name)  # held while it is read: another thread may have opened it too, and put its own there
        return os.pread(file.descriptor, size, offset)


class _OpenFile:
    """Closes its descriptor when the last thread that reads from it has let go."""

    def __init__(self, root: Path, name: str) -> None:
        self.descriptor = os.open(root / name, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)
