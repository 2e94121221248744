"""A web server on the loopback interface with the faults that a test asks for."""

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks.range_server import answering


class FileServer(ThreadingHTTPServer):
    """Serves `files` (path -> content), and records the requests.

    Attributes:
        cut_after: bytes of an answer after which the connection breaks. drip_s: between the bytes of an answer.
        status: instead of 200. busy: so many of the next requests are answered with 503.
        headers: of every answer. etag: of every file; answers a matching `If-Range`.
        ranges, if_ranges: these headers of all requests so far. paths: what they asked for.
    """

    cut_after: int | None = None
    drip_s = 0.0
    knows_ranges = True
    states_length = True
    states_range = True
    status = 200
    busy = 0
    etag = ""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = dict(files)
        self.headers: dict[str, str] = {}
        self.redirects: dict[str, str] = {}
        self.ranges: list[str | None] = []
        self.if_ranges: list[str | None] = []
        self.paths: list[str] = []

    def url(self, path: str) -> str:
        """Return the address of a file."""
        return f"http://127.0.0.1:{self.server_port}{path}"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        server = self.server
        server.paths.append(self.path)
        if server.busy > 0:
            server.busy -= 1
            self.send_error(503)
            return
        if self.path in server.redirects:
            self.send_response(302)
            self.send_header("Location", server.redirects[self.path])
            self.end_headers()
            return
        if self.path not in server.files:
            self.send_error(404)
            return
        content = server.files[self.path]
        start, stop = self._range(len(content))
        if start and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        self._send(content, start, stop)

    def _range(self, size: int) -> tuple[int, int]:
        wanted, condition = self.headers.get("Range"), self.headers.get("If-Range")
        self.server.ranges.append(wanted)
        self.server.if_ranges.append(condition)
        if not wanted or not self.server.knows_ranges or (condition and condition != self.server.etag):
            return 0, size
        start, _, last = wanted.removeprefix("bytes=").partition("-")
        return int(start), min(int(last) + 1, size) if last else size

    def _send(self, content: bytes, start: int, stop: int) -> None:
        server, body = self.server, content[start:stop]
        partial = len(body) < len(content)
        self.send_response(206 if partial else server.status)
        headers = dict(server.headers)
        if server.states_length:
            headers["Content-Length"] = str(len(body))
        if partial and server.states_range:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
        if server.etag:
            headers["ETag"] = server.etag
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self._write(body[: server.cut_after])

    def _write(self, body: bytes) -> None:
        try:
            if not self.server.drip_s:
                self.wfile.write(body)
                return
            for number in range(len(body)):
                self.wfile.write(body[number : number + 1])
                time.sleep(self.server.drip_s)
        except (BrokenPipeError, ConnectionResetError):  # the client has gone
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Print no log."""


def running(files: Mapping[str, bytes]) -> AbstractContextManager[FileServer]:
    """Give a running server."""
    return answering(FileServer(files))
