"""What the tests of several packages share."""

import os
from collections.abc import Iterator

import pytest

pytest_plugins = ["tests.support.samples"]

os.environ.setdefault("MGGTALK_WORKERS", "2")  # before Ray starts: the same number of workers on every machine


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """One Ray for all tests that need it: every start costs seconds."""
    from mggtalk.runtime.ray_session import ray_session

    with ray_session():
        yield
