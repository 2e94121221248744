"""Runs a stage in a child process that a deadline and a memory limit can kill: one bad file costs that file only.

The child builds the stage once and works record by record; when it had to be killed, the next record gets a new one.
A long video may take hours, but a frame of it only a moment. So besides the deadline there is a watch on signs of life:
the stage calls `mggtalk.heartbeat.beat` as it goes on (reading frames does), and the child counts in shared memory.
Memory is watched from outside, as resident size. RLIMIT_AS would count reservations, of which Torch and MediaPipe make
many gigabytes that they never touch, so no useful limit can be set with it.
"""

import ctypes
import fcntl
import math
import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing.connection import wait as wait_for_sentinel
from typing import Any, Generic, TypeVar

import psutil
from pebble import ProcessExpired, ProcessPool

from mggtalk import heartbeat
from mggtalk.errors import StageError
from mggtalk.records import Rejected, RejectReason, Stage
from mggtalk.runtime.failures import Failure, attempt

RecordT = TypeVar("RecordT")
OutputT = TypeVar("OutputT")

_POLL_S = 0.1
"""Interval between two looks at memory. A process fills up to a few GB/s, so a limit is overshot by some 100 MB."""
_STARTUP_S = 300.0
"""Deadline for importing and building the stage; seconds as a rule, minutes from a cold network disk."""
_TAKEN_UP_S = 60.0
"""Longest time until a new process begins to build; Python and a few small modules load before.

Pebble loses work whose process is killed between reading it and saying so, and its own deadline never begins then.
"""
_STARTS = 3
"""A process that dies while it starts may do so for want of memory, so it is started again."""
_GONE_S = 2.0
"""Longest time that the pool may miss the end of a child, because it takes exit code 0 for nothing special."""

_DIED = (ProcessExpired, BrokenProcessPool, psutil.NoSuchProcess)


class PickledFactory(Generic[RecordT, OutputT]):
    """A factory of a stage that travels as bytes: the stage's modules load when it is called, not on its way there.

    A worker that hands it on to a child would else load them as well: seconds, and hundreds of megabytes. The child
    takes up its work before they load, which may take minutes.
    """

    def __init__(self, factory: Callable[[], Stage[RecordT, OutputT]]) -> None:
        """Take a factory that can be pickled."""
        self._pickled = pickle.dumps(factory)

    def __call__(self) -> Stage[RecordT, OutputT]:
        """Build the stage."""
        factory: Callable[[], Stage[RecordT, OutputT]] = pickle.loads(self._pickled)  # noqa: S301  made by `__init__`
        return factory()


class Isolated(Generic[RecordT, OutputT]):
    """A stage around a stage: records are worked on in a child process, and what kills the child is a rejection.

    | in the child                                                    | out here             |
    |-----------------------------------------------------------------|----------------------|
    | outputs and rejections                                          | the same             |
    | no result before the deadline, or no sign of life for `stall_s` | `DECODE_TIMEOUT`     |
    | the process ends (segmentation fault, kill)                     | `CRASHED`            |
    | resident memory over the limit, or `MemoryError`                | `OUT_OF_MEMORY`      |
    | `VideoError`                                                    | `DECODE_ERROR`       |
    | any other `MggtalkError`                                        | the same error       |
    | any other exception                                             | `StageBugError`      |

    Args:
        factory: builds the inner stage, in the child. `key_of` and the records must be picklable, too.
        key_of: names a record in rejections and errors.
        deadline_s: seconds that a record may take; the time to build the stage does not count.
        memory_limit_bytes: largest resident size of the child.
        stall_s: longest time between two calls of `heartbeat.beat`, or before the first or after the last.
    """

    def __init__(
        self,
        factory: PickledFactory[RecordT, OutputT],
        key_of: Callable[[RecordT], str],
        deadline_s: Callable[[RecordT], float],
        memory_limit_bytes: int,
        stall_s: float = math.inf,
    ) -> None:
        self._factory = factory
        self._key_of = key_of
        self._deadline_s = deadline_s
        self._memory_limit_bytes = memory_limit_bytes
        self._stall_s = stall_s
        self._beats = ctypes.c_ulong()
        self._pool: ProcessPool | None = None
        self._child: psutil.Process | None = None

    def __call__(self, record: RecordT) -> Iterator[OutputT | Rejected]:
        """Yield what the inner stage makes of `record`, or the rejection that says what became of the child.

        Raises:
            MggtalkError: the inner stage raised it (`VideoError` is a rejection).
            StageBugError: the inner stage raised anything else.
        """
        pool = self._living_pool()
        deadline_s = self._deadline_s(record)
        future = pool.schedule(_run, args=(record,), timeout=deadline_s)
        killed = self._watch(future, deadline_s)
        if killed is not None:
            self._kill()
            yield Rejected(self._key_of(record), *killed)
            return
        result = future.result()
        if isinstance(result, Failure):
            result.reraise()
        yield from result

    def close(self) -> None:
        """Stop the child; the next record starts a new one."""
        if self._pool is not None:
            self._pool.stop()
            self._pool.join()
        self._pool = self._child = None

    def _kill(self) -> None:
        # Pebble asks with SIGTERM first and waits for 3 s, in which a process that eats memory would eat all of it.
        with suppress(psutil.NoSuchProcess):
            if self._child is not None:
                self._child.kill()
        self.close()

    def _living_pool(self) -> ProcessPool:
        if self._pool is not None and self._child is not None and self._child.is_running():
            return self._pool
        self.close()  # it died between two records: the machine ran out of memory, say
        return self._start()

    def _start(self) -> ProcessPool:
        for _ in range(_STARTS):
            try:
                return self._start_once()
            except _DIED as cause:
                self.close()
                died = cause
            except TimeoutError as cause:
                self.close()
                raise StageError(f"the stage's process did not start within {_STARTUP_S:.0f} s") from cause
        raise StageError(f"the stage's process died {_STARTS} times while it started: {died}") from died

    def _start_once(self) -> ProcessPool:
        # Forking a process that has threads (a Ray worker has many) can deadlock the child, so it is spawned.
        context = multiprocessing.get_context("spawn")
        self._beats = context.RawValue(ctypes.c_ulong)
        self._pool = ProcessPool(max_workers=1, context=context, initializer=_begin, initargs=(self._beats,))
        future = self._pool.schedule(_build, args=(self._factory, self._key_of), timeout=_STARTUP_S)
        if not wait([future], timeout=_TAKEN_UP_S).done and not future.running():
            raise BrokenProcessPool(f"no sign of it for {_TAKEN_UP_S:.0f} s")
        built = future.result()
        if isinstance(built, Failure):
            self.close()
            built.reraise()
        self._child = psutil.Process(built)
        return self._pool

    def _watch(self, future: "Future[Any]", deadline_s: float) -> tuple[RejectReason, str] | None:
        """Wait for the child; return why it was killed or died, or None if it has answered."""
        beats = self._beats.value
        alive_s = beat_s = time.monotonic()  # when it was last there, and when it last gave a sign
        while not wait([future], timeout=_POLL_S).done:
            now_s = time.monotonic()
            resident_bytes = self._resident_bytes()
            alive_s = now_s if resident_bytes else alive_s
            if beats != self._beats.value:
                beats, beat_s = self._beats.value, now_s
            if resident_bytes > self._memory_limit_bytes:
                limit = self._memory_limit_bytes >> 20
                return RejectReason.OUT_OF_MEMORY, f"{resident_bytes >> 20} MiB in use, limit {limit} MiB"
            if now_s - beat_s > self._stall_s:
                return RejectReason.DECODE_TIMEOUT, f"no sign of life for {self._stall_s:.1f} s"
            if now_s - alive_s > _GONE_S:
                return RejectReason.CRASHED, "the process ended"
        return _failure_of(future, deadline_s)

    def _resident_bytes(self) -> int:
        """Return the size of the child, 0 when it is gone."""
        assert self._child is not None, "watched before it was started"
        try:
            return int(self._child.memory_info().rss) if self._child.is_running() else 0
        except psutil.NoSuchProcess:
            return 0


def _failure_of(future: "Future[Any]", deadline_s: float) -> tuple[RejectReason, str] | None:
    """Return the reason why the pool has no answer; None if it has one."""
    match future.exception():
        case None:
            return None
        case TimeoutError():
            return RejectReason.DECODE_TIMEOUT, f"no result within {deadline_s:.1f} s"
        case ProcessExpired() as expired:
            return RejectReason.CRASHED, _describe_exit(expired.exitcode)
        case BrokenProcessPool():  # died before it had taken up the record
            return RejectReason.CRASHED, "the process ended"
        case unexpected:
            raise unexpected


def _describe_exit(code: int) -> str:
    if code < 0:
        return f"the process was killed by {signal.Signals(-code).name}"
    return f"the process ended with exit code {code}"


# What follows runs in the child.

_built: tuple[Stage[Any, Any], Callable[[Any], str]] | None = None


def _build(factory: PickledFactory[Any, Any], key_of: Callable[[Any], str]) -> int | Failure:
    global _built  # noqa: PLW0603  the process exists for this one stage
    try:
        _built = factory(), key_of
    except Exception as exception:
        return Failure.of(exception, "while the stage was built")
    return os.getpid()


def _run(record: object) -> list[Any] | Failure:
    if _built is None:  # the pool has replaced a child that died between two records, just now
        os._exit(1)
    stage, key_of = _built
    return attempt(stage, record, key_of)


def _begin(beats: ctypes.c_ulong) -> None:
    _die_with_parent()

    def count() -> None:
        beats.value += 1

    heartbeat.listen(count)


def _die_with_parent() -> None:
    """Have the kernel kill this process when its parent is gone, even while native code hangs with the GIL held.

    The parent holds the other end of the sentinel pipe; its end closes it, and SIGKILL is what that sends us.
    PR_SET_PDEATHSIG would fire as well when the parent's *thread* that started us ends, which is no reason to die.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None, "meant for child processes"
    sentinel = parent.sentinel
    fcntl.fcntl(sentinel, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(sentinel, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(sentinel, fcntl.F_SETFL, fcntl.fcntl(sentinel, fcntl.F_GETFL) | os.O_ASYNC)
    if wait_for_sentinel([sentinel], timeout=0):  # it died before we asked
        os.kill(os.getpid(), signal.SIGKILL)
