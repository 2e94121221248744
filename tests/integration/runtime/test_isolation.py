"""What a stage can do to its process, done for real: hang, crash, eat memory, outlive its parent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from operator import attrgetter
from threading import Thread

import pebble
import psutil
import pytest

from mggtalk.errors import StageError, WeightsError
from mggtalk.records import Rejected, RejectReason
from mggtalk.runtime import isolation
from mggtalk.runtime.failures import StageBugError
from mggtalk.runtime.isolation import Isolated, PickledFactory
from tests.integration.runtime.toy_stages import Job, MisbehavingStage, MissingModelStage

DEADLINE_S = 1.5
STALL_S = 1.0
LIMIT_BYTES = 400 << 20


def deadline_s(job: Job) -> float:
    return DEADLINE_S if job.deed.startswith("hang") else 60.0


@pytest.fixture(scope="module", autouse=True)
def impatient_pebble() -> Iterator[None]:
    """Pebble asks with SIGTERM and waits 3 s before SIGKILL; code that holds the GIL never hears the first."""
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(pebble.CONSTS, "term_timeout", 0.2)
        yield


@pytest.fixture(scope="module")
def isolated() -> Iterator[Isolated[Job, int]]:
    stage: Isolated[Job, int] = Isolated(PickledFactory(MisbehavingStage), attrgetter("key"), deadline_s, LIMIT_BYTES)
    with closing(stage):
        yield stage


@pytest.fixture(scope="module")
def watched() -> Iterator[Isolated[Job, int]]:
    """No deadline to speak of, but a watch on signs of life."""
    stage: Isolated[Job, int] = Isolated(
        PickledFactory(MisbehavingStage), attrgetter("key"), lambda _: 600.0, LIMIT_BYTES, STALL_S
    )
    with closing(stage):
        yield stage


def only(results: Iterator[int | Rejected]) -> Rejected:
    (result,) = results
    assert isinstance(result, Rejected)
    return result


def test_results_pass_unchanged_and_the_stage_is_built_once(isolated):
    first, second = (list(isolated(Job("a", "pid"))) for _ in range(2))
    assert first == second != [os.getpid()]
    assert list(isolated(Job("b", "reject"))) == [Rejected("b", RejectReason.NO_FACE, "from inside")]
    assert list(isolated(Job("c", "nothing"))) == []


@pytest.mark.parametrize("deed", ["hang", "hang with the GIL"])
def test_a_hang_is_a_timeout_within_the_deadline_and_the_next_record_works(isolated, deed):
    list(isolated(Job("warm", "pid")))
    started = time.monotonic()
    rejected = only(isolated(Job("a", deed)))
    assert (rejected.key, rejected.reason) == ("a", RejectReason.DECODE_TIMEOUT)
    assert DEADLINE_S <= time.monotonic() - started < DEADLINE_S + 5
    assert list(isolated(Job("b", "pid")))


@pytest.mark.parametrize(("deed", "detail"), [("exit", "exit code 7"), ("segfault", "SIGSEGV"), ("killed", "SIGKILL")])
def test_a_crash_is_a_rejection_that_says_how_and_the_next_record_works(isolated, deed, detail):
    rejected = only(isolated(Job("a", deed)))
    assert (rejected.key, rejected.reason) == ("a", RejectReason.CRASHED)
    assert detail in rejected.detail
    assert list(isolated(Job("b", "pid")))


def test_an_end_with_exit_code_0_is_a_crash_too_and_not_waited_for(isolated):
    started = time.monotonic()
    assert only(isolated(Job("a", "leave"))).reason is RejectReason.CRASHED
    assert time.monotonic() - started < 10


def test_a_child_that_dies_between_two_records_costs_neither(isolated):
    (pid,) = isolated(Job("a", "pid"))
    child = psutil.Process(pid)
    child.kill()
    psutil.wait_procs([child], timeout=5)
    (other,) = isolated(Job("b", "pid"))
    assert other != pid


def signal_new_children(known: set[int], how_many: int, number: signal.Signals) -> None:
    """Signal processes of a pool as soon as they are there; those that are `known` are others'."""
    deadline = time.monotonic() + 30
    while how_many and time.monotonic() < deadline:
        for child in psutil.Process().children():
            if child.pid not in known and "spawn_main" in " ".join(child.cmdline()):
                child.send_signal(number)
                known.add(child.pid)
                how_many -= 1
        time.sleep(0.01)


@pytest.mark.parametrize(("deaths", "is_given_up"), [(1, False), (3, True)])
def test_a_child_that_is_killed_while_it_starts_is_started_again(deaths, is_given_up, monkeypatch):
    monkeypatch.setattr(isolation, "_TAKEN_UP_S", 20.0)  # now and then Pebble does not notice such a death at all
    stage: Isolated[Job, int] = Isolated(PickledFactory(MisbehavingStage), attrgetter("key"), deadline_s, LIMIT_BYTES)
    known = {child.pid for child in psutil.Process().children()}
    killer = Thread(target=signal_new_children, args=(known, deaths, signal.SIGKILL), daemon=True)
    with closing(stage):
        killer.start()
        if is_given_up:
            with pytest.raises(StageError, match="died 3 times while it started"):
                list(stage(Job("a", "pid")))
        else:
            assert len(list(stage(Job("a", "pid")))) == 1
        killer.join()


def test_a_child_that_never_takes_up_its_work_is_given_up_and_ended(monkeypatch):
    monkeypatch.setattr(isolation, "_TAKEN_UP_S", 1.0)
    stage: Isolated[Job, int] = Isolated(PickledFactory(MisbehavingStage), attrgetter("key"), deadline_s, LIMIT_BYTES)
    known = {child.pid for child in psutil.Process().children()}
    stopper = Thread(target=signal_new_children, args=(known, 3, signal.SIGSTOP), daemon=True)
    stopper.start()
    with closing(stage), pytest.raises(StageError, match="died 3 times while it started: no sign of it for 1 s"):
        list(stage(Job("a", "pid")))
    stopper.join()
    assert not [child for child in psutil.Process().children() if child.status() == psutil.STATUS_STOPPED]


@pytest.mark.parametrize("deed", ["hang", "hang with the GIL"])
def test_work_that_gives_no_sign_of_life_is_ended_long_before_its_deadline(watched, deed):
    list(watched(Job("warm", "pid")))
    started = time.monotonic()
    rejected = only(watched(Job("a", deed)))
    assert rejected == Rejected("a", RejectReason.DECODE_TIMEOUT, "no sign of life for 1.0 s")
    assert STALL_S <= time.monotonic() - started < STALL_S + 5


def test_work_that_gives_signs_of_life_may_take_longer_than_a_hang(watched):
    started = time.monotonic()
    assert list(watched(Job("a", "beat"))) == [30]
    assert time.monotonic() - started > 2 * STALL_S


def test_a_memory_hog_is_killed_near_the_limit(isolated):
    rejected = only(isolated(Job("a", "hog")))
    assert rejected.reason is RejectReason.OUT_OF_MEMORY
    assert "limit 400 MiB" in rejected.detail


def test_memory_error_is_out_of_memory(isolated):
    assert only(isolated(Job("a", "memory error"))).reason is RejectReason.OUT_OF_MEMORY


def test_a_video_error_is_a_decode_error_without_the_outputs_before_it(isolated):
    assert list(isolated(Job("a", "video error"))) == [Rejected("a", RejectReason.DECODE_ERROR, "a: broken at frame 3")]


def test_a_bug_is_raised_with_the_record_and_the_original_trace(isolated):
    with pytest.raises(StageBugError, match=r"on record 'a': ZeroDivisionError") as caught:
        list(isolated(Job("a", "bug")))
    assert "_divide_by_nothing" in str(caught.value)


def test_a_user_error_while_building_is_raised_as_itself():
    stage: Isolated[Job, int] = Isolated(
        PickledFactory(MissingModelStage), attrgetter("key"), lambda _: DEADLINE_S, LIMIT_BYTES
    )
    with pytest.raises(WeightsError, match="face_landmarker"):
        list(stage(Job("a", "pid")))


def test_close_ends_the_child():
    stage: Isolated[Job, int] = Isolated(
        PickledFactory(MisbehavingStage), attrgetter("key"), lambda _: DEADLINE_S, LIMIT_BYTES
    )
    (pid,) = stage(Job("a", "pid"))
    stage.close()
    assert not psutil.pid_exists(pid)


PARENT = """
import sys
from operator import attrgetter
from mggtalk.runtime.isolation import Isolated, PickledFactory
from tests.integration.runtime.toy_stages import Job, MisbehavingStage

if __name__ == "__main__":
    stage = Isolated(PickledFactory(MisbehavingStage), attrgetter("key"), lambda _: 600.0, 1 << 40)
    print(*stage(Job("a", "pid")), flush=True)
    list(stage(Job("a", "hang with the GIL")))
"""


def test_a_hung_child_dies_with_its_killed_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        time.sleep(0.5)  # let it reach the hang
        parent.kill()
    try:
        assert psutil.wait_procs([child], timeout=5)[1] == [], "the child outlived its parent"
    finally:
        if child.is_running():
            child.kill()
