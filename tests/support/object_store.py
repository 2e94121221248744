"""Runs a real S3 server, SeaweedFS, on the loopback interface."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import s3fs

_START_S = 60

ACCESS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


@dataclass(frozen=True)
class ObjectStore:
    """A running server with an empty bucket."""

    endpoint: str
    bucket: str

    @property
    def environment(self) -> Mapping[str, str]:
        """Environment variables of a process that uses the server."""
        return {**ACCESS, "AWS_ENDPOINT_URL": self.endpoint}

    def file_system(self) -> Any:
        """Return a view of the server without cached listings."""
        return s3fs.S3FileSystem(
            endpoint_url=self.endpoint,
            key=ACCESS["AWS_ACCESS_KEY_ID"],
            secret=ACCESS["AWS_SECRET_ACCESS_KEY"],
            use_listings_cache=False,
        )

    def objects(self) -> dict[str, int]:
        """Return the objects of the bucket and their sizes in bytes."""
        found = self.file_system().find(self.bucket, detail=True)
        return {name.removeprefix(f"{self.bucket}/"): entry["size"] for name, entry in found.items()}


@contextmanager
def running(folder: Path) -> Iterator[ObjectStore]:
    """Give a running server that keeps its data in `folder`, and stop it at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    services = ("master", "volume", "filer", "s3")
    ports = _free_ports(2 * len(services))
    http, grpc = (dict(zip(services, part, strict=True)) for part in (ports[:4], ports[4:]))
    command = ["weed", "server", "-s3", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    command += [f"-{service}.port={port}" for service, port in http.items()]
    command += [f"-{service}.port.grpc={port}" for service, port in grpc.items()]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
    command += ["-master.volumeSizeLimitMB=64", "-volume.max=20"]
    store = ObjectStore(f"http://127.0.0.1:{http['s3']}", "data")
    log = folder / "weed.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env={"PATH": _path(), **ACCESS}, stdout=output, stderr=output)
    try:
        _wait_for(store, process, log)
        yield store
    finally:
        process.kill()  # asked kindly, it waits for clients that keep their connections
        process.wait()


def _wait_for(store: ObjectStore, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until the bucket exists and accepts files."""
    until = time.monotonic() + _START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(store.endpoint, timeout=5).close()
            break
        except urllib.error.HTTPError:
            break
        except OSError:
            time.sleep(0.1)
    while time.monotonic() < until and process.poll() is None:
        try:
            file_system = store.file_system()
            file_system.makedirs(store.bucket, exist_ok=True)
            file_system.pipe_file(f"{store.bucket}/ready", b"")
            file_system.rm_file(f"{store.bucket}/ready")
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise RuntimeError(f"weed: not ready, exit code {process.poll()}: {log.read_text(errors='replace')[-2000:]}")


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        return [free.getsockname()[1] for free in sockets]


def _path() -> str:
    return f"{Path(sys.executable).parent}:{os.environ['PATH']}"
