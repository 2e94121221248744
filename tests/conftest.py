"""What the tests of several rooms share, and the order of the rooms: the fast ones come first.

`unit` has no Ray, no MediaPipe and no process; `integration` has them, and servers on this machine; `e2e` runs whole
stages. See CONTRIBUTING.md.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.support.samples"]

# Before torch loads and Ray starts: networks this small are faster on one thread, and tests run beside others.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MGGTALK_WORKERS", "2")  # the same number of workers on every machine
# Ray Train's defaults are for clusters: it looks at its workers every 2 s, and waits 30 s for those that cannot answer
# because one of them is dead.
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
os.environ.setdefault("TORCH_PROCESS_GROUP_SHUTDOWN_TIMEOUT_S", "2")
os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")  # a process that takes seconds to start
# Numba, which face-alignment brings, would compile for ten seconds what runs for milliseconds.
os.environ.setdefault("NUMBA_DISABLE_JIT", "1")

# `--hypothesis-profile=long` is for `make test-long`.
settings.register_profile(
    "usual", max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.register_profile("long", settings.get_profile("usual"), max_examples=1000)
settings.load_profile("usual")

ROOMS = ("unit", "integration", "e2e")
LATE = ("ray", "mediapipe")
"""They load for seconds, so a test that needs them imports them where it does: others may be asked for alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_room)  # stable: within a room the order is pytest's own


def _room(item: pytest.Item) -> int:
    return ROOMS.index(item.path.relative_to(Path(__file__).parent).parts[0])


def pytest_collection_finish() -> None:
    if early := [name for name in LATE if name in sys.modules]:
        raise pytest.UsageError(f"collecting the tests has loaded {' and '.join(early)}; import it where it is used")


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """One Ray for all tests that need it: every start costs seconds."""
    from mggtalk.runtime.ray_session import ray_session

    with ray_session():
        yield
