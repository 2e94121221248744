"""Reads byte ranges of the files of a data set: the protocol, and its implementation for a local directory."""

import os
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Protocol

from mggtalk.shards.index import SampleRow

# Far below the usual limit of 1024 open files per process, to leave room for others.
_MAX_OPEN_FILES = 128


class Storage(Protocol):
    """Access to the files of a data set. Safe to share between threads and across a fork.

    Every method raises OSError, whose message names the file, if it is missing or cannot be read; ConnectionError if
    the server is to blame.
    """

    def where(self, name: str) -> str:
        """Return path or URL of the file `name`, for messages."""
        ...

    def size(self, name: str) -> int:
        """Return the size of the file `name` in bytes."""
        ...

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Return the bytes `offset` to `offset + size` of the file `name`; fewer where it ends earlier."""
        ...

    def read_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Read each (offset, size) of the file `name`."""
        ...

    def read_member(self, row: SampleRow, index: int) -> bytes:
        """Return the bytes of the member at `index` of a sample, unchecked; fewer where the shard ends earlier."""
        ...


class LocalStorage:
    """Reads byte ranges with `pread`, which moves no file position: safe to share between threads and across a fork."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open = lru_cache(maxsize=_MAX_OPEN_FILES)(partial(_OpenFile, root))

    def where(self, name: str) -> str:
        """Return the path of the file `name`."""
        return str(self._root / name)

    def size(self, name: str) -> int:
        """Return the size of the file `name` in bytes.

        Raises:
            OSError: the file is missing or cannot be read.
        """
        file = self._open(name)  # as in `read`
        return os.fstat(file.descriptor).st_size

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Return the bytes `offset` to `offset + size` of the file `name`; fewer where it ends earlier.

        Raises:
            OSError: the file is missing or cannot be read.
        """
        file = self._open(name)  # held while reading, because another thread may replace the cached file
        return os.pread(file.descriptor, size, offset)

    def read_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Read each (offset, size) of the file `name`.

        Raises:
            OSError: the file is missing or cannot be read.
        """
        return [self.read(name, offset, size) for offset, size in ranges]

    def read_member(self, row: SampleRow, index: int) -> bytes:
        """Return the bytes of the member at `index` of a sample.

        Raises:
            OSError: the shard is missing or cannot be read.
        """
        return self.read(row.shard, row.member_offsets[index], row.member_sizes[index])


class _OpenFile:
    """An open file that closes its descriptor when the last thread that reads from it drops it."""

    def __init__(self, root: Path, name: str) -> None:
        self.descriptor = os.open(root / name, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)
