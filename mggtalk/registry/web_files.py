"""Downloads single files from web servers, and goes on where an interrupted download stopped.

What has arrived lies in a part file, with a note of what it is a part of. Where the SHA-256 is known, it decides in the
end. Where it is not, a part is gone on with only if the server vouches, by `If-Range`, that its file is still the same.

Source: RFC 9110, sections 13.1.5 (If-Range) and 14.4 (Content-Range).
"""

import contextlib
import hashlib
import json
import logging
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from tqdm import tqdm

from mggtalk.errors import RegistryError
from mggtalk.files import atomic_write

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 16  # as much as a broken connection loses
_SLOWEST_BYTES_PER_S = 1024
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_NO_LONGER_WANTED = "the run was stopped"


class DownloadError(RegistryError):
    """A file cannot be had from its URL."""


class TooLargeError(DownloadError):
    """The file is larger than is allowed."""


class ChecksumError(DownloadError):
    """The file's SHA-256 is not the one that was stated."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server is waited for.

    Attributes:
        connect_s: to answer at all. stall_s: without a byte, or with less than 1 KiB/s.
        attempts: in one call. pause_s: between them.
    """

    connect_s: float = 10.0
    stall_s: float = 60.0
    attempts: int = 3
    pause_s: float = 1.0


class _InterruptedError(Exception):
    """Worth another attempt."""


@dataclass(frozen=True, slots=True)
class _Origin:
    """What a part file is a part of; `validator` is a strong ETag or a date, empty where the server states none."""

    url: str
    validator: str
    total: int | None


def fetch_url(
    url: str,
    destination: Path,
    sha256: str | None,
    max_bytes: int,
    *,
    part: Path | None = None,
    patience: Patience | None = None,
    show_progress: bool = True,
    stop: threading.Event | None = None,
) -> None:
    """Download `url` to `destination`; an interrupted download goes on where it stopped, in this call or the next.

    Redirects are followed to http and https only.

    Args:
        sha256: of the file, if it is known.
        part: what has arrived so far, on the file system of `destination` (default: beside it, `.part`).
        stop: when set, the download ends with an error at its next byte; what has arrived stays.

    Raises:
        TooLargeError: the file has more than `max_bytes` bytes. ChecksumError: its hash is another.
        DownloadError: the server does not answer, or sends no file.
        RegistryError: the file cannot be written.
    """
    if not is_web_url(url):
        raise DownloadError(f"{url}: download failed: no address of http or https")
    download = _Download(
        url, part or destination.with_name(f"{destination.name}.part"), sha256, max_bytes, show_progress, stop
    )
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        download.part.parent.mkdir(parents=True, exist_ok=True)
        download.run(patience or Patience())
        download.check_hash()
        download.part.replace(destination)
        download.note.unlink(missing_ok=True)
    except requests.RequestException as cause:  # before OSError, of which it is one
        raise DownloadError(f"{url}: download failed: {cause}") from cause
    except OSError as cause:
        raise RegistryError(f"{destination}: cannot be written: {cause.strerror or cause}") from cause


def is_web_url(text: str) -> bool:
    """Tell whether this is an address of http or https."""
    try:
        parts = urlsplit(text)
    except ValueError:  # brackets that do not match
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def part_note(part: Path) -> Path:
    """Return where the note on a part file lies."""
    return part.with_name(f"{part.name}.json")


@dataclass(frozen=True, slots=True)
class _Download:
    url: str
    part: Path
    sha256: str | None
    max_bytes: int
    show_progress: bool
    stop: threading.Event | None

    @property
    def note(self) -> Path:
        return part_note(self.part)

    def run(self, patience: Patience) -> None:
        """Fill the part file to its end."""
        for attempt in range(1, patience.attempts + 1):
            try:
                self._fetch_rest(patience)
            except _InterruptedError as cause:
                if attempt == patience.attempts or self._is_stopped():
                    raise DownloadError(f"{self.url}: download failed: {cause}") from cause
                logger.warning("%s: %s; attempt %d of %d", self.url, cause, attempt + 1, patience.attempts)
                time.sleep(patience.pause_s)
            else:
                return

    def check_hash(self) -> None:
        if self.sha256 is None:
            return
        with self.part.open("rb") as content:
            got = hashlib.file_digest(content, "sha256").hexdigest()
        if got != self.sha256:
            self._forget()
            raise ChecksumError(f"{self.url}: has SHA-256 {got}, expected {self.sha256}")

    def _fetch_rest(self, patience: Patience) -> None:
        start, origin = self._so_far()
        if origin and origin.total is not None and start == origin.total:
            return  # a run was killed when all had arrived
        headers = {"Accept-Encoding": "identity"}  # a range of compressed bytes is of no use
        if start:
            headers["Range"] = f"bytes={start}-"
        if start and origin and origin.validator:
            headers["If-Range"] = origin.validator
        with _interruptions(), self._get(headers, patience) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                self._take_as_whole(start)
                return
            self._refuse_what_is_no_file(answer)
            start, total = self._place(answer, start, origin)
            if total is not None and total > self.max_bytes:
                self._forget()
                raise TooLargeError(f"{self.url}: has {total} bytes, allowed are {self.max_bytes}")
            self._append(answer, start, total, patience)

    def _so_far(self) -> tuple[int, _Origin | None]:
        """Return the number of bytes that can be gone on from, and what they are of."""
        origin = self._read_note()
        is_ours = self.sha256 is not None or (origin is not None and origin.validator and origin.url == self.url)
        if not is_ours or not self.part.is_file():
            self._forget()
            return 0, None
        return self.part.stat().st_size, origin

    def _get(self, headers: dict[str, str], patience: Patience) -> requests.Response:
        try:
            return requests.get(self.url, headers=headers, stream=True, timeout=(patience.connect_s, patience.stall_s))
        except requests.ConnectionError as cause:
            if _is_dead(cause):  # thousands of dead addresses must not be asked three times each
                raise DownloadError(f"{self.url}: download failed: no connection: {cause}") from cause
            raise
        except ValueError as cause:  # a redirect to an address that is none: Requests does not catch all that it reads
            raise DownloadError(f"{self.url}: download failed: {cause}") from cause

    def _take_as_whole(self, start: int) -> None:
        if self.sha256 is None:  # nothing vouches for it
            self._forget()
            raise _InterruptedError(f"the server has no more than {start} bytes; starting anew")

    def _refuse_what_is_no_file(self, answer: requests.Response) -> None:
        if answer.status_code in _BUSY:
            raise _InterruptedError(f"{answer.status_code} {answer.reason}")
        answer.raise_for_status()
        if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise DownloadError(f"{self.url}: download failed: the server insists on compressing")
        if self.sha256 is None and answer.headers.get("Content-Type", "").lower().startswith("text/html"):
            raise DownloadError(f"{self.url}: download failed: the server sent a web page, not a file")

    def _place(self, answer: requests.Response, start: int, origin: _Origin | None) -> tuple[int, int | None]:
        """Return where the answer's bytes belong, and the size of the whole; note a new start."""
        length = answer.headers.get("Content-Length", "")
        if answer.status_code != requests.codes.partial_content:
            total = int(length) if length.isdecimal() else None
            self.part.unlink(missing_ok=True)
            note = json.dumps(asdict(_Origin(self.url, _validator(answer), total)))
            atomic_write(self.note, note.encode())
            return 0, total
        stated = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
        total = int(stated[2]) if stated and stated[2] != "*" else None
        expected = origin.total if origin else None
        if (stated and int(stated[1]) != start) or (total and expected and total != expected):
            self._forget()
            raise _InterruptedError("the server sent another range than was asked for; starting anew")
        return start, total or (start + int(length) if length.isdecimal() else None)

    def _append(self, answer: requests.Response, start: int, total: int | None, patience: Patience) -> None:
        with (
            self.part.open("ab" if start else "wb") as content,
            tqdm(
                desc=self.part.stem, initial=start, total=total, unit="B", unit_scale=True, disable=self._hidden
            ) as progress,
        ):
            for chunk in _chunks(answer, patience):
                if content.tell() + len(chunk) > self.max_bytes:
                    content.truncate(0)
                    raise TooLargeError(f"{self.url}: sends more than the {self.max_bytes} bytes allowed")
                content.write(chunk)
                progress.update(len(chunk))
                if self._is_stopped():
                    raise _InterruptedError(_NO_LONGER_WANTED)
            arrived = content.tell()
        if total is not None and arrived != total:
            raise _InterruptedError(f"{arrived} of {total} bytes have arrived")

    @property
    def _hidden(self) -> bool | None:
        return None if self.show_progress else True  # None: hidden where nobody watches

    def _is_stopped(self) -> bool:
        return self.stop is not None and self.stop.is_set()

    def _read_note(self) -> _Origin | None:
        try:
            content: dict[str, Any] = json.loads(self.note.read_bytes())
            return _Origin(**content)
        except (OSError, ValueError, TypeError):
            return None

    def _forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def _is_dead(cause: requests.ConnectionError) -> bool:
    """Tell whether nobody was there: no such host, connection refused, or no answer to it."""
    reason = getattr(cause.args[0], "reason", None) if cause.args else None
    return isinstance(cause, requests.ConnectTimeout) or isinstance(reason, urllib3.exceptions.NewConnectionError)


def _validator(answer: requests.Response) -> str:
    etag = answer.headers.get("ETag", "")
    return etag if etag.startswith('"') else answer.headers.get("Last-Modified", "")  # a weak tag vouches for no bytes


def _chunks(answer: requests.Response, patience: Patience) -> Iterator[bytes]:
    """Yield bytes as they come; a server that sends less than a modem would is given up."""
    since_s, received = time.monotonic(), 0
    while chunk := answer.raw.read1(_CHUNK_BYTES, decode_content=False):
        yield chunk
        received += len(chunk)
        waited_s = time.monotonic() - since_s
        if waited_s >= patience.stall_s:
            if received < _SLOWEST_BYTES_PER_S * waited_s:
                raise _InterruptedError(f"slower than {_SLOWEST_BYTES_PER_S} bytes/s")
            since_s, received = time.monotonic(), 0


@contextlib.contextmanager
def _interruptions() -> Iterator[None]:
    """Turn what may go better the next time into `_InterruptedError`."""
    try:
        yield
    except (
        requests.ConnectionError,
        requests.Timeout,
        requests.exceptions.ChunkedEncodingError,
        urllib3.exceptions.ProtocolError,
        urllib3.exceptions.TimeoutError,
    ) as cause:
        raise _InterruptedError(str(cause)) from cause
