"""Downloads single files from web servers, and goes on where an interrupted download stopped.

What has arrived lies in a part file, with a note of what it is a part of. Where the SHA-256 is known, it decides in the
end. Where it is not, a part is gone on with only if the server vouches, by `If-Range`, that its file is still the same.

Source: RFC 9110, sections 13.1.5 (If-Range) and 14.4 (Content-Range).
"""

import hashlib
import json
import logging
import os
import re
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import requests
from tqdm import tqdm

from mggtalk.errors import WeightsError
from mggtalk.files import atomic_write
from mggtalk.weights.web_answers import (
    DownloadError,
    InterruptedDownloadError,
    Patience,
    answer_of,
    chunks_of,
    is_web_url,
    validator_of,
)

logger = logging.getLogger(__name__)


class TooLargeError(DownloadError):
    """The file is larger than is allowed."""


class ChecksumError(DownloadError):
    """The file's SHA-256 is not the one that was stated."""


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
        sha256: of the file, or its first digits, if it is known.
        part: what has arrived so far, on the file system of `destination` (default: beside it, `.part`).
        stop: when set, the download ends with an error at its next byte; what has arrived stays.

    Raises:
        TooLargeError: the file has more than `max_bytes` bytes. ChecksumError: its hash is another.
        DownloadError: the server does not answer, or sends no file.
        WeightsError: the file cannot be written.
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
    except OSError as cause:
        raise WeightsError(f"{destination}: cannot be written: {cause.strerror or cause}") from cause


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
            except InterruptedDownloadError as cause:
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
        if not got.startswith(self.sha256):
            self._forget()
            raise ChecksumError(f"{self.url}: has SHA-256 {got}, expected {self.sha256}")

    def _fetch_rest(self, patience: Patience) -> None:
        start, origin = self._so_far()
        if origin and origin.total is not None and start == origin.total:
            return  # a run was killed when all had arrived
        headers = {"Range": f"bytes={start}-"} if start else {}
        if start and origin and origin.validator:
            headers["If-Range"] = origin.validator
        with answer_of(self.url, headers, patience) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                self._take_as_whole(start)
                return
            if self.sha256 is None and answer.headers.get("Content-Type", "").lower().startswith("text/html"):
                raise DownloadError(f"{self.url}: download failed: the server sent a web page, not a file")
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

    def _take_as_whole(self, start: int) -> None:
        if self.sha256 is None:  # nothing vouches for it
            self._forget()
            raise InterruptedDownloadError(f"the server has no more than {start} bytes; starting anew")

    def _place(self, answer: requests.Response, start: int, origin: _Origin | None) -> tuple[int, int | None]:
        """Return where the answer's bytes belong, and the size of the whole; note a new start."""
        length = answer.headers.get("Content-Length", "")
        if answer.status_code != requests.codes.partial_content:
            total = int(length) if length.isdecimal() else None
            self.part.unlink(missing_ok=True)
            note = json.dumps(asdict(_Origin(self.url, validator_of(answer), total)))
            atomic_write(self.note, note.encode())
            return 0, total
        stated = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
        total = int(stated[2]) if stated and stated[2] != "*" else None
        expected = origin.total if origin else None
        if (stated and int(stated[1]) != start) or (total and expected and total != expected):
            self._forget()
            raise InterruptedDownloadError("the server sent another range than was asked for; starting anew")
        return start, total or (start + int(length) if length.isdecimal() else None)

    def _append(self, answer: requests.Response, start: int, total: int | None, patience: Patience) -> None:
        with (
            self.part.open("ab" if start else "wb") as content,
            tqdm(
                desc=self.part.stem, initial=start, total=total, unit="B", unit_scale=True, disable=self._hidden
            ) as progress,
        ):
            for chunk in chunks_of(answer, patience):
                if content.tell() + len(chunk) > self.max_bytes:
                    content.truncate(0)
                    raise TooLargeError(f"{self.url}: sends more than the {self.max_bytes} bytes allowed")
                content.write(chunk)
                progress.update(len(chunk))
                if self._is_stopped():
                    raise InterruptedDownloadError("the run was stopped")
            arrived = content.tell()
            content.flush()
            os.fsync(content.fileno())  # before it gets its name: a power cut must not leave a name without its bytes
        if total is not None and arrived != total:
            raise InterruptedDownloadError(f"{arrived} of {total} bytes have arrived")

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
