"""The rules of this room are enforced, on the tests of this room."""

import importlib
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Thread

import pytest

from tests.support.unit_room import Room, own_time_s, room, time_limit


def with_socket(deed: Callable[[socket.socket], object]) -> None:
    with socket.socket() as opened:
        deed(opened)


DEEDS: dict[str, Callable[[], object]] = {
    "subprocess.Popen": lambda: subprocess.run([sys.executable, "-c", ""], check=True),
    "os.fork": os.fork,
    "os.posix_spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "os.system": lambda: os.system("true"),
    "multiprocessing starts": multiprocessing.get_context("spawn").Process(target=int).start,
    "socket.bind": lambda: with_socket(lambda opened: opened.bind(("127.0.0.1", 0))),
    "socket.connect": lambda: with_socket(lambda opened: opened.connect(("127.0.0.1", 9))),
    "import ray": lambda: importlib.import_module("ray.data"),
    "import mediapipe": lambda: importlib.import_module("mediapipe"),
}


@pytest.mark.parametrize("deed", DEEDS)
def test_what_unit_tests_do_not_is_refused(deed):
    with pytest.raises(pytest.fail.Exception, match=f"^{deed}.*move the test to tests/integration"):
        DEEDS[deed]()
    assert room.refused
    room.refused.clear()  # else this test would fail


def swallow(deed: Callable[[], object]) -> None:
    with suppress(BaseException):
        deed()


def on_a_thread(deed: Callable[[], object]) -> None:
    thread = Thread(target=swallow, args=(deed,))
    thread.start()
    thread.join()


@pytest.mark.parametrize("unnoticed", [swallow, on_a_thread])
def test_what_was_refused_unnoticed_fails_the_test_at_its_end(unnoticed):
    other = Room()
    with pytest.raises(pytest.fail.Exception, match=r"^a deed: "), other.guarded():
        unnoticed(lambda: other.refuse("a deed"))
    assert other.refused is None
    other.refuse("a deed outside unit tests")  # is nobody's business


def fail_after_a_deed(other: Room) -> None:
    with other.guarded():
        swallow(lambda: other.refuse("a deed"))
        raise ZeroDivisionError


def test_a_failure_of_the_test_itself_is_the_one_that_is_told():
    with pytest.raises(ZeroDivisionError):
        fail_after_a_deed(Room())


def test_what_takes_longer_than_the_limit_fails():
    with time_limit(0.5):
        pass
    with (
        pytest.raises(pytest.fail.Exception, match=r"took 0\.\d\d s, and unit tests may take 0\.01 s"),
        time_limit(0.01),
    ):
        time.sleep(0.02)


def test_a_busy_processor_does_not_count(monkeypatch):
    before_s = own_time_s()
    with monkeypatch.context() as patches:
        patches.setattr("tests.support.unit_room._waited_s", lambda: 1e6)
        assert own_time_s() < before_s - 1e5
