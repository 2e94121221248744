"""Serves byte ranges over HTTP on the loopback interface, with a chosen delay, and counts requests and bytes."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeVar

ServerT = TypeVar("ServerT", bound=ThreadingHTTPServer)


class RangeServer(ThreadingHTTPServer):
    """Serves the files below `root`, each answer after `delay_s`."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, root: Path, delay_s: float) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root, self.delay_s = root, delay_s
        self.requests = self.sent_bytes = 0

    @property
    def url(self) -> str:
        """The address of `root`."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: RangeServer

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        self.server.requests += 1
        time.sleep(self.server.delay_s)
        with (self.server.root / self.path.lstrip("/")).open("rb") as file:
            size = file.seek(0, 2)
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            start, stop = (int(wanted[1]), min(int(wanted[2]) + 1, size)) if wanted else (0, size)
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(stop - start))
            if wanted:
                self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
            self.end_headers()
            if with_body:
                file.seek(start)
                self.wfile.write(file.read(stop - start))
                self.server.sent_bytes += stop - start

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def answering(server: ServerT) -> Iterator[ServerT]:
    """Run a server in a thread of its own while the context is open."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def serving(root: Path, delay_s: float = 0.0) -> AbstractContextManager[RangeServer]:
    """Serve the files below `root` while the context is open."""
    return answering(RangeServer(root, delay_s))
