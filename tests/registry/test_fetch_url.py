import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mggtalk.errors import RegistryError
from mggtalk.registry.downloads import fetch_url
from tests.registry.distributions import sha256

CHUNK = 1 << 16
CONTENT = bytes(range(251)) * 2000  # 7.66 chunks


class FileServer(ThreadingHTTPServer):
    """Serves CONTENT on the loopback interface, as badly as a test asks for, and keeps the Range of each request."""

    cut_after: int | None = None  # bytes of an answer after which the connection breaks
    knows_ranges = True
    states_length = True
    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.ranges: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/weights.bin"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.knows_ranges else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        body = CONTENT[start:]
        self.send_response(206 if start else self.server.status)
        if self.server.states_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.cut_after])

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "downloads" / "weights.bin"


def _fetch(server: FileServer, destination: Path, max_bytes: int = len(CONTENT)) -> None:
    fetch_url(server.url, destination, sha256(CONTENT), max_bytes)


def _part(destination: Path) -> Path:
    return destination.with_name("weights.bin.part")


def test_a_file_arrives_whole_and_alone(server: FileServer, destination: Path) -> None:
    _fetch(server, destination)
    assert destination.read_bytes() == CONTENT
    assert list(destination.parent.iterdir()) == [destination]


def test_a_broken_connection_is_resumed_where_it_stopped(server: FileServer, destination: Path) -> None:
    server.cut_after = 3 * CHUNK
    _fetch(server, destination)
    assert destination.read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={3 * CHUNK}-", f"bytes={6 * CHUNK}-"]


def test_an_interrupted_download_leaves_no_file_and_the_next_call_goes_on(
    server: FileServer, destination: Path
) -> None:
    server.cut_after = CHUNK + 100
    with pytest.raises(RegistryError, match="download failed"):
        _fetch(server, destination)
    assert not destination.exists()
    assert _part(destination).read_bytes() == CONTENT[: 3 * CHUNK]
    server.cut_after = None
    _fetch(server, destination)
    assert destination.read_bytes() == CONTENT
    assert server.ranges[-1] == f"bytes={3 * CHUNK}-"


def test_a_server_without_ranges_sends_it_all_again(server: FileServer, destination: Path) -> None:
    destination.parent.mkdir()
    _part(destination).write_bytes(CONTENT[:300])
    server.knows_ranges = False
    _fetch(server, destination)
    assert destination.read_bytes() == CONTENT


def test_a_part_that_is_already_whole_is_taken(server: FileServer, destination: Path) -> None:
    destination.parent.mkdir()
    _part(destination).write_bytes(CONTENT)
    _fetch(server, destination)
    assert destination.read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT)}-"]


def test_the_first_digits_of_a_hash_tell_the_right_file_from_another(server: FileServer, destination: Path) -> None:
    fetch_url(server.url, destination, sha256(CONTENT)[:10], len(CONTENT))
    assert destination.read_bytes() == CONTENT
    destination.unlink()
    with pytest.raises(RegistryError, match="expected 0123456789"):
        fetch_url(server.url, destination, "0123456789", len(CONTENT))
    assert not destination.exists()


def test_another_hash_is_refused_and_the_next_call_starts_anew(server: FileServer, destination: Path) -> None:
    destination.parent.mkdir()
    _part(destination).write_bytes(b"?" * 300)
    with pytest.raises(RegistryError, match=f"has SHA-256 .*, expected {sha256(CONTENT)}"):
        _fetch(server, destination)
    assert list(destination.parent.iterdir()) == []
    _fetch(server, destination)
    assert destination.read_bytes() == CONTENT


def test_a_file_that_states_too_many_bytes_is_refused_before_it_is_read(server: FileServer, destination: Path) -> None:
    with pytest.raises(RegistryError, match=f"has {len(CONTENT)} bytes, allowed are {len(CONTENT) - 1}"):
        _fetch(server, destination, max_bytes=len(CONTENT) - 1)
    assert list(destination.parent.iterdir()) == []


def test_a_file_that_hides_its_size_is_stopped_at_the_limit(server: FileServer, destination: Path) -> None:
    server.states_length = False
    with pytest.raises(RegistryError, match=f"sends more than the {len(CONTENT) - 1} bytes allowed"):
        _fetch(server, destination, max_bytes=len(CONTENT) - 1)
    assert not destination.exists()


def test_an_error_status_is_not_tried_again(server: FileServer, destination: Path) -> None:
    server.status = 404
    with pytest.raises(RegistryError, match="404"):
        _fetch(server, destination)
    assert server.ranges == [None]
    assert not destination.exists()


def test_a_server_that_is_not_there_is_an_error(destination: Path) -> None:
    with FileServer() as stopped:
        url = stopped.url
    with pytest.raises(RegistryError, match=f"{url}: download failed"):
        fetch_url(url, destination, sha256(CONTENT), len(CONTENT))


def test_an_address_that_is_none_is_an_error(destination: Path) -> None:
    with pytest.raises(RegistryError, match="download failed"):
        fetch_url("file:///etc/passwd", destination, sha256(CONTENT), len(CONTENT))
