"""Tiny stages for the tests of the runtime; in a module of their own, for worker processes import them by name."""

import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mggtalk.errors import VideoError, WeightsError
from mggtalk.heartbeat import beat
from mggtalk.records import Rejected, RejectReason


@dataclass(frozen=True)
class Job:
    """A record that says what is to happen."""

    key: str
    deed: str = ""
    number: int = 0


class MisbehavingStage:
    """Does what the job says."""

    def __call__(self, record: Job) -> Iterator[int | Rejected]:
        match record.deed:
            case "pid":
                yield os.getpid()
            case "nothing":
                return
            case "reject":
                yield Rejected(record.key, RejectReason.NO_FACE, "from inside")
            case "video error":
                yield 1
                raise VideoError(f"{record.key}: broken at frame 3")
            case "memory error":
                raise MemoryError("tried 10 GB")
            case "beat":
                for _ in range(30):
                    time.sleep(0.1)
                    beat()
                yield 30
            case "bug":
                yield _divide_by_nothing()
            case deed:
                DEEDS[deed]()


class MissingModelStage:
    """Cannot be built."""

    def __init__(self) -> None:
        raise WeightsError("face_landmarker.task: missing; run `mggtalk models fetch`")

    def __call__(self, record: Job) -> Iterator[int]:
        raise NotImplementedError(record)


def _divide_by_nothing() -> int:
    return 1 // int("0")


def _hog() -> None:
    hoard = []
    for _ in range(200):
        hoard.append(np.ones(20 << 20, np.uint8))
        time.sleep(0.02)


DEEDS: dict[str, Callable[[], object]] = {
    "hang": lambda: time.sleep(600),
    "hang with the GIL": lambda: ctypes.PyDLL(None).sleep(600),
    "exit": lambda: os._exit(7),
    "leave": lambda: os._exit(0),
    "segfault": lambda: ctypes.string_at(0),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "hog": _hog,
}


class SquareStage:
    """Squares numbers, takes its time over the record `slow`, and rejects what is negative."""

    def __call__(self, record: Job) -> Iterator[int | Rejected]:
        if record.key == "slow":
            time.sleep(1.5)
        if record.number < 0:
            yield Rejected(record.key, RejectReason.NO_FACE)
        else:
            yield from (record.number**2 for _ in range(1 + record.number % 2))


class DiaryStage:
    """Takes a fifth of a second over a record, and leaves a file in the folder `deed` each time."""

    def __call__(self, record: Job) -> Iterator[str]:
        time.sleep(0.2)
        Path(record.deed, f"{record.key}.{time.monotonic_ns()}").touch()
        yield record.key
