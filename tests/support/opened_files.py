"""Tells which files of a folder were opened by any process, as the kernel reports it (inotify)."""

import ctypes
import os
import struct
from pathlib import Path
from types import TracebackType
from typing import Self

_OPENED = 0x20  # IN_OPEN
_IS_FOLDER = 0x40000000  # IN_ISDIR
_HEADER = struct.Struct("iIII")


class OpenedFiles:
    """Watches the files directly in a folder. Use it as a context manager; ask before it ends."""

    def __init__(self, folder: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._libc.inotify_add_watch(self._descriptor, os.fsencode(folder), _OPENED) < 0:
            raise OSError(ctypes.get_errno(), f"{folder}: cannot be watched")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def names(self) -> set[str]:
        """The files that were opened since the last call."""
        names: set[str] = set()
        while True:
            try:
                events = os.read(self._descriptor, 1 << 16)
            except BlockingIOError:
                return names
            place = 0
            while place < len(events):
                _, mask, _, length = _HEADER.unpack_from(events, place)
                name = events[place + _HEADER.size : place + _HEADER.size + length].rstrip(b"\0")
                place += _HEADER.size + length
                if not mask & _IS_FOLDER:
                    names.add(os.fsdecode(name))
