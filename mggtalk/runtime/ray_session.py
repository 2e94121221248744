"""Connects to the cluster that `RAY_ADDRESS` names, or starts a small quiet Ray on this machine."""

import logging
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import mggtalk
from mggtalk.errors import StageError

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no reports to outside
    "RAY_DATA_LOG_LEVEL": "ERROR",  # plans and timings of every dataset
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # Ray Data's pools trip an error line of the C++ core that means nothing here
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the behaviour to come; Ray warns of the old one at every start
}
_LOCAL = {
    # When the driver is killed its Ray goes too, but workers that are just starting look for it so long. The default is
    # 60 s, for clusters whose head restarts.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "5",
}
_CONNECT_TIMEOUT_S = 5.0
_STDERR = 2
_OBJECT_STORE_BYTES = 1 << 30
"""Enough for the results in flight. Ray falls back to a file under /tmp where /dev/shm is smaller than this."""


def requested_workers() -> int | None:
    """Return `MGGTALK_WORKERS`, None if unset: the workers of a local Ray, and the most that a stage uses of any Ray.

    Raises:
        StageError: it is not a positive whole number.
    """
    text = os.environ.get("MGGTALK_WORKERS")
    if text is None:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise StageError(f"MGGTALK_WORKERS: expected a whole number of at least 1, got {text!r}")
    return int(text)


def local_workers() -> int:
    """Return how many workers this machine gets: `MGGTALK_WORKERS`, else the cores that this process may use."""
    return requested_workers() or len(os.sched_getaffinity(0))


@contextmanager
def ray_session() -> Iterator[None]:
    """Have Ray ready inside the `with` block; what was started here is shut down at its end, nothing else.

    Raises:
        StageError: no cluster answers at `RAY_ADDRESS`.
    """
    address = os.environ.get("RAY_ADDRESS")
    for name, value in (_QUIET if address else _QUIET | _LOCAL).items():
        os.environ.setdefault(name, value)
    import ray  # noqa: PLC0415  reads its environment when it is imported

    if ray.is_initialized():
        yield
        return
    logging.getLogger("ray").setLevel(logging.ERROR)
    if address:
        _check_reachable(address)
    try:
        with _native_stderr_kept_back():
            ray.init(**(_cluster(address) if address else _local()), log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as cause:
        hint = "a cluster with token authentication wants RAY_AUTH_MODE=token and its token"
        raise StageError(f"RAY_ADDRESS: cannot connect to the Ray cluster at {address!r} ({hint})") from cause
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Ask first whether anything listens: Ray itself would try for minutes."""
    parts = urlsplit(address if "//" in address else f"//{address}")
    if parts.port is None:
        return  # such as `auto`: Ray looks on this machine
    try:
        socket.create_connection((parts.hostname or "", parts.port), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError as cause:
        raise StageError(f"RAY_ADDRESS: no Ray cluster answers at {address!r}: {cause}") from cause


@contextmanager
def _native_stderr_kept_back() -> Iterator[None]:
    """Keep what C++ code writes to stderr from the user, unless the block fails: it is how the log level was set."""
    sys.stderr.flush()
    stderr = os.dup(_STDERR)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), _STDERR)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(stderr, kept.read())
            raise
        finally:
            os.dup2(stderr, _STDERR)
            os.close(stderr)


def _local() -> dict[str, Any]:
    return {
        "address": "local",  # never a cluster that happens to run here
        "num_cpus": local_workers(),
        "include_dashboard": False,
        "object_store_memory": min(_OBJECT_STORE_BYTES, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4),
    }


def _cluster(address: str) -> dict[str, Any]:
    # The nodes have the dependencies installed, not this project: it travels with the job.
    return {"address": address, "runtime_env": {"py_modules": [str(Path(mggtalk.__file__).parent)]}}
