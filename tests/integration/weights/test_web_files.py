import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mggtalk.errors import WeightsError
from mggtalk.weights.web_answers import DownloadError, RetryPolicy
from mggtalk.weights.web_files import ChecksumError, TooLargeError, fetch_url, part_note
from tests.support.distributions import sha256
from tests.support.web_server import FileServer, running

CHUNK = 1 << 16
CONTENT = bytes(range(251)) * 2000  # 7.66 chunks
PATH = "/weights.bin"
QUICK = RetryPolicy(connect_s=5.0, stall_s=5.0, attempts=3, pause_s=0.0)
ONCE = RetryPolicy(connect_s=5.0, stall_s=5.0, attempts=1, pause_s=0.0)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with running({PATH: CONTENT}) as started:
        yield started


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "downloads" / "weights.bin"


def _fetch(
    server: FileServer,
    destination: Path,
    max_bytes: int = len(CONTENT),
    *,
    known: bool = True,
    retry_policy: RetryPolicy = QUICK,
    path: str = PATH,
) -> None:
    fetch_url(server.url(path), destination, sha256(CONTENT) if known else None, max_bytes, retry_policy=retry_policy)


def _part(destination: Path, content: bytes | None = None) -> Path:
    part = destination.with_name("weights.bin.part")
    if content is not None:
        part.parent.mkdir(exist_ok=True)
        part.write_bytes(content)
    return part


def _interrupt(server: FileServer, destination: Path, after: int) -> None:
    """Fetch without a known hash; the connection breaks after so many bytes."""
    server.cut_after = after
    with pytest.raises(DownloadError, match="download failed"):
        _fetch(server, destination, known=False, retry_policy=ONCE)
    server.cut_after = None
    assert not destination.exists()


each_knowledge = pytest.mark.parametrize("known", [True, False], ids=["hash known", "hash unknown"])


@each_knowledge
def test_a_file_arrives_whole_and_alone(server: FileServer, destination: Path, known: bool) -> None:
    _fetch(server, destination, known=known)
    assert destination.read_bytes() == CONTENT
    assert list(destination.parent.iterdir()) == [destination]


def test_a_broken_connection_is_resumed_where_it_stopped(server: FileServer, destination: Path) -> None:
    server.cut_after = 3 * CHUNK
    _fetch(server, destination)
    assert destination.read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={3 * CHUNK}-", f"bytes={6 * CHUNK}-"]


def test_an_interrupted_download_leaves_no_file_and_is_resumed(server: FileServer, destination: Path) -> None:
    server.cut_after = CHUNK + 100
    with pytest.raises(WeightsError, match="download failed"):
        _fetch(server, destination)
    assert not destination.exists()
    assert _part(destination).read_bytes() == CONTENT[: 3 * (CHUNK + 100)]
    server.cut_after = None
    _fetch(server, destination)
    assert destination.read_bytes() == CONTENT
    assert server.ranges[-1] == f"bytes={3 * (CHUNK + 100)}-"


@each_knowledge
def test_a_server_without_ranges_sends_it_all_again(server: FileServer, destination: Path, known: bool) -> None:
    server.etag = '"one"'
    _interrupt(server, destination, 300)
    server.knows_ranges = False
    _fetch(server, destination, known=known)
    assert server.ranges[-1] == "bytes=300-"
    assert destination.read_bytes() == CONTENT


def test_a_part_that_is_already_whole_is_taken(server: FileServer, destination: Path) -> None:
    _part(destination, CONTENT)
    _fetch(server, destination)
    assert destination.read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT)}-"]


def test_another_hash_is_refused_and_the_next_call_starts_anew(server: FileServer, destination: Path) -> None:
    _part(destination, b"?" * 300)
    with pytest.raises(ChecksumError, match=f"has SHA-256 .*, expected {sha256(CONTENT)}"):
        _fetch(server, destination)
    assert list(destination.parent.iterdir()) == []
    _fetch(server, destination)
    assert destination.read_bytes() == CONTENT


def test_the_first_digits_of_a_hash_tell_the_right_file_from_another(server: FileServer, destination: Path) -> None:
    fetch_url(server.url(PATH), destination, sha256(CONTENT)[:10], len(CONTENT), retry_policy=ONCE)
    assert destination.read_bytes() == CONTENT
    destination.unlink()
    with pytest.raises(ChecksumError, match="expected 0123456789"):
        fetch_url(server.url(PATH), destination, "0123456789", len(CONTENT), retry_policy=ONCE)
    assert not destination.exists()


@each_knowledge
def test_a_file_that_states_too_many_bytes_is_refused_before_it_is_read(
    server: FileServer, destination: Path, known: bool
) -> None:
    with pytest.raises(TooLargeError, match=f"has {len(CONTENT)} bytes, allowed are {len(CONTENT) - 1}"):
        _fetch(server, destination, max_bytes=len(CONTENT) - 1, known=known)
    assert list(destination.parent.iterdir()) == []


def test_a_file_that_hides_its_size_is_stopped_at_the_limit(server: FileServer, destination: Path) -> None:
    server.states_length = False
    with pytest.raises(TooLargeError, match=f"sends more than the {len(CONTENT) - 1} bytes allowed"):
        _fetch(server, destination, max_bytes=len(CONTENT) - 1)
    assert not destination.exists()
    assert _part(destination).stat().st_size == 0


def test_an_error_status_is_not_tried_again(server: FileServer, destination: Path) -> None:
    with pytest.raises(DownloadError, match="404"):
        _fetch(server, destination, path="/gone.bin")
    assert server.paths == ["/gone.bin"]
    assert not destination.exists()


def test_a_busy_server_is_tried_again(server: FileServer, destination: Path) -> None:
    server.status = 503
    with pytest.raises(DownloadError, match="download failed: 503"):
        _fetch(server, destination)
    assert server.paths == [PATH] * 3


def test_a_server_that_is_not_there_is_an_error(destination: Path) -> None:
    with FileServer({}) as stopped:
        url = stopped.url(PATH)
    started_s = time.monotonic()
    with pytest.raises(DownloadError, match=f"{url}: download failed: no connection"):
        fetch_url(url, destination, sha256(CONTENT), len(CONTENT), retry_policy=RetryPolicy(attempts=3, pause_s=30.0))
    assert time.monotonic() - started_s < 10  # it was asked once


def test_a_host_without_an_address_is_an_error(destination: Path) -> None:
    with pytest.raises(DownloadError, match=r"no connection.*nobody\.invalid"):
        fetch_url("http://nobody.invalid/a.mp4", destination, None, 10, retry_policy=ONCE)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/a", "/etc/passwd", "http://", "http://[1/a"])
def test_an_address_that_is_none_is_an_error(destination: Path, url: str) -> None:
    with pytest.raises(DownloadError, match="download failed"):
        fetch_url(url, destination, sha256(CONTENT), len(CONTENT), retry_policy=ONCE)


def test_redirects_lead_to_web_servers_only(server: FileServer, destination: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    server.redirects = {"/moved": PATH, "/inside": secret.as_uri(), "/circle": "/circle"}
    _fetch(server, destination, path="/moved")
    assert destination.read_bytes() == CONTENT
    destination.unlink()
    for path in ("/inside", "/circle"):
        with pytest.raises(DownloadError, match="download failed"):
            _fetch(server, destination, path=path)
    assert not destination.exists()


@pytest.mark.parametrize(
    "address", ["http://[1/", "http://\xff\xfe/", "http://.x/", "gopher://x/", "javascript:1", "?"]
)
def test_a_redirect_to_no_address_is_an_error(server: FileServer, destination: Path, address: str) -> None:
    server.redirects = {"/moved": address}
    with pytest.raises(DownloadError, match="download failed"):
        _fetch(server, destination, path="/moved", retry_policy=ONCE)


def test_without_a_hash_a_part_is_gone_on_with_if_the_server_vouches_for_it(
    server: FileServer, destination: Path
) -> None:
    server.etag = '"one"'
    _interrupt(server, destination, CHUNK)
    _fetch(server, destination, known=False)
    assert destination.read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={CHUNK}-"]
    assert server.if_ranges == [None, '"one"']


def test_without_a_hash_a_file_that_has_changed_is_fetched_anew(server: FileServer, destination: Path) -> None:
    server.etag = '"one"'
    _interrupt(server, destination, CHUNK)
    server.etag, server.files[PATH] = '"two"', CONTENT[::-1]
    _fetch(server, destination, known=False)
    assert destination.read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("etag", ["", 'W/"one"'])
def test_without_a_hash_and_without_a_strong_validator_nothing_is_gone_on_with(
    server: FileServer, destination: Path, etag: str
) -> None:
    server.etag = etag
    _interrupt(server, destination, CHUNK)
    server.files[PATH] = CONTENT[::-1]
    _fetch(server, destination, known=False)
    assert destination.read_bytes() == CONTENT[::-1]
    assert server.ranges == [None, None]


def test_a_part_of_another_address_is_not_resumed(server: FileServer, destination: Path) -> None:
    server.etag = '"one"'
    _interrupt(server, destination, CHUNK)
    server.files["/other.bin"] = CONTENT[::-1]
    _fetch(server, destination, known=False, path="/other.bin")
    assert destination.read_bytes() == CONTENT[::-1]


def test_a_change_of_size_under_the_same_validator_is_not_believed(server: FileServer, destination: Path) -> None:
    server.etag = '"one"'
    _interrupt(server, destination, CHUNK)
    server.files[PATH] = CONTENT[::-1] + b"more"
    fetch_url(server.url(PATH), destination, None, 10**6, retry_policy=QUICK)
    assert destination.read_bytes() == CONTENT[::-1] + b"more"


def test_a_download_killed_after_its_last_byte_asks_for_nothing(server: FileServer, destination: Path) -> None:
    part = _part(destination, CONTENT)
    note = {"url": server.url(PATH), "validator": '"one"', "total": len(CONTENT)}
    part_note(part).write_text(json.dumps(note))
    _fetch(server, destination, known=False)
    assert destination.read_bytes() == CONTENT
    assert server.paths == []


@pytest.mark.parametrize("note", ["", "[]", '{"url": 1}', "{", "null"])
def test_a_damaged_note_costs_a_new_start(server: FileServer, destination: Path, note: str) -> None:
    part = _part(destination, b"?" * 300)
    part_note(part).write_text(note)
    _fetch(server, destination, known=False)
    assert destination.read_bytes() == CONTENT


def test_a_web_page_is_no_file(server: FileServer, destination: Path) -> None:
    server.headers = {"Content-Type": "text/html; charset=utf-8"}
    with pytest.raises(DownloadError, match="sent a web page"):
        _fetch(server, destination, known=False)
    _fetch(server, destination)  # the hash confirms it
    assert destination.read_bytes() == CONTENT


def test_a_server_that_drips_is_given_up(server: FileServer, destination: Path) -> None:
    server.drip_s = 0.01
    impatient = RetryPolicy(connect_s=5.0, stall_s=0.3, attempts=1, pause_s=0.0)
    with pytest.raises(DownloadError, match="slower than 4096 bytes/s"):
        _fetch(server, destination, retry_policy=impatient)


def test_a_stopped_download_ends_and_goes_on_later(server: FileServer, destination: Path) -> None:
    server.etag = '"one"'
    stop = threading.Event()
    stop.set()
    with pytest.raises(DownloadError, match="the run was stopped"):
        fetch_url(server.url(PATH), destination, None, len(CONTENT), retry_policy=QUICK, stop=stop)
    assert len(server.paths) == 1
    arrived = _part(destination).stat().st_size
    assert arrived > 0
    _fetch(server, destination, known=False)
    assert destination.read_bytes() == CONTENT
    assert server.ranges[-1] == f"bytes={arrived}-"


def test_a_path_that_cannot_be_written_is_an_error_of_the_machine(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(WeightsError, match="cannot be written") as raised:
        _fetch(server, tmp_path / "file" / "weights.bin")
    assert not isinstance(raised.value, DownloadError)
