"""Holds every test below to the rules of `tests.support.unit_room`.

Left out are tests for a GPU, which load CUDA, and the time limit in the long run.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.support.unit_room import CALL_LIMIT_S, SETUP_LIMIT_S, room, time_limit


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    with _held_to_the_rules(item, SETUP_LIMIT_S):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    with _held_to_the_rules(item, CALL_LIMIT_S):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    with _held_to_the_rules(item, SETUP_LIMIT_S):
        yield


@contextmanager
def _held_to_the_rules(item: pytest.Item, limit_s: float) -> Iterator[None]:
    with ExitStack() as rules:
        if item.get_closest_marker("gpu") is None:
            if not _is_long(item):
                rules.enter_context(time_limit(limit_s))
            rules.enter_context(room.guarded())
        yield


def _is_long(item: pytest.Item) -> bool:
    return item.get_closest_marker("long") is not None or item.config.getoption("hypothesis_profile") == "long"
