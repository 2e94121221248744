"""Keeps unit tests fast: they start no process, open no socket, load neither Ray nor MediaPipe, and end within 2 s."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import util
from pathlib import Path
from typing import Any

import pytest

CALL_LIMIT_S = 2.0
SETUP_LIMIT_S = 5.0
"""For fixtures that many tests share."""

_REFUSED_MODULES = ("ray", "mediapipe")
_PROCESS_EVENTS = (
    "subprocess.Popen",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.exec",
    "os.system",
    "pty.spawn",
)
_REFUSED_EVENTS = frozenset((*_PROCESS_EVENTS, "socket.bind", "socket.connect"))
_REMEDY = "unit tests do not; move the test to tests/integration"


class Room:
    """What is refused while a unit test runs.

    Attributes:
        refused: what the running test was refused; None outside unit tests. Code under test may swallow the exception,
            or meet it on a thread of its own, so the end of the test looks here again.
    """

    def __init__(self) -> None:
        self.refused: list[str] | None = None

    def refuse(self, deed: str) -> None:
        """Fail the running unit test.

        Raises:
            pytest.fail.Exception: a `BaseException`, which code under test does not take for one of its own errors.
        """
        if self.refused is not None:
            self.refused.append(deed)
            pytest.fail(f"{deed}: {_REMEDY}")

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Refuse it inside the block, and fail after it where that went unnoticed."""
        self.refused = []
        try:
            yield
            if self.refused:
                pytest.fail(f"{', '.join(self.refused)}: {_REMEDY}")
        finally:
            self.refused = None


room = Room()


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    """Hear of an audit event of Python: it is raised whatever way a process is started or a socket opened."""
    if event in _REFUSED_EVENTS:
        room.refuse(" ".join([event, *map(str, arguments[:2])]))


class _Finder:
    """Asked for a module before any other finder. No audit event tells of `importlib.import_module`."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] in _REFUSED_MODULES:
            room.refuse(f"import {name}")


sys.addaudithook(_on_event)  # for good: hooks cannot be taken away again
sys.meta_path.insert(0, _Finder)
_spawn = util.spawnv_passfds


def _spawn_outside_unit_tests(path: Any, arguments: Any, descriptors: Any) -> int:
    """Stand before the one way of `multiprocessing` to start a process that raises no audit event."""
    room.refuse(f"multiprocessing starts {path}")
    return _spawn(path, arguments, descriptors)


util.spawnv_passfds = _spawn_outside_unit_tests  # type: ignore[assignment]


@contextmanager
def time_limit(limit_s: float) -> Iterator[None]:
    """Fail where the block takes longer."""
    started_s = own_time_s()
    yield
    taken_s = own_time_s() - started_s
    if taken_s > limit_s:
        pytest.fail(f"took {taken_s:.2f} s, and unit tests may take {limit_s:.2f} s; shrink it or move it")


def own_time_s() -> float:
    """Return a clock that stands still while others have the processor, but not while this thread sleeps."""
    return time.monotonic() - _waited_s()


def _waited_s() -> float:
    """Return how long this thread was ready to run but did not; 0 where the kernel does not say."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text("ascii").split()[1]) / 1e9
    except OSError:
        return 0.0
