"""Connects to the cluster that `RAY_ADDRESS` names, or starts a small quiet Ray on this machine."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mggtalk
from mggtalk.errors import StageError

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no reports to outside
    "RAY_DATA_LOG_LEVEL": "ERROR",  # plans and timings of every dataset
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # C++ lines on stderr about actors that are restarted as intended
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the behaviour to come; Ray warns of the old one at every start
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
}
_OBJECT_STORE_BYTES = 1 << 30
"""Enough for the results in flight. Ray falls back to a file under /tmp where /dev/shm is smaller than this."""


def num_workers() -> int:
    """Return how many workers a local Ray gets: `MGGTALK_WORKERS`, else the cores this process may use.

    Raises:
        StageError: `MGGTALK_WORKERS` is not a positive whole number.
    """
    text = os.environ.get("MGGTALK_WORKERS")
    if text is None:
        return len(os.sched_getaffinity(0))
    if not text.isdecimal() or int(text) < 1:
        raise StageError(f"MGGTALK_WORKERS: expected a whole number of at least 1, got {text!r}")
    return int(text)


@contextmanager
def ray_session() -> Iterator[None]:
    """Have Ray ready inside the `with` block; what was started here is shut down at its end, nothing else.

    Raises:
        StageError: no cluster answers at `RAY_ADDRESS`.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import ray  # noqa: PLC0415  reads its environment when it is imported

    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        ray.init(**(_cluster(address) if address else _local()), log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as cause:
        raise StageError(f"RAY_ADDRESS: no Ray cluster answers at {address!r}: {cause}") from cause
    try:
        yield
    finally:
        ray.shutdown()


def _local() -> dict[str, Any]:
    return {
        "address": "local",  # never a cluster that happens to run here
        "num_cpus": num_workers(),
        "include_dashboard": False,
        "object_store_memory": min(_OBJECT_STORE_BYTES, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4),
    }


def _cluster(address: str) -> dict[str, Any]:
    # The nodes have the dependencies installed, not this project: it travels with the job.
    return {"address": address, "runtime_env": {"py_modules": [str(Path(mggtalk.__file__).parent)]}}
