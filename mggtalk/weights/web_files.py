"""Downloads single files from web servers, and resumes interrupted downloads.

Received bytes go into a part file, with a note of their origin beside it. If the SHA-256 is known, it is checked in the
end. If not, a part is resumed only if the server confirms, through `If-Range`, that its file is unchanged.

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
    RetryPolicy,
    answer_of,
    chunks_of,
    is_web_url,
    validator_of,
)

logger = logging.getLogger(__name__)


class TooLargeError(DownloadError):
    """The file is larger than is allowed."""


class ChecksumError(DownloadError):
    """The file's SHA-256 is not the stated one."""


@dataclass(frozen=True, slots=True)
class _Origin:
    """Origin of a part file; `validator` is a strong ETag or a date, empty if the server states none."""

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
    retry_policy: RetryPolicy | None = None,
    show_progress: bool = True,
    stop: threading.Event | None = None,
) -> None:
    """Download `url` to `destination`; an interrupted download resumes where it stopped, in this call or the next.

    Redirects are followed to http and https only.

    Args:
        sha256: of the file, or its first digits, if known.
        part: path of the part file, on the file system of `destination` (default: beside it, `.part`).
        stop: when set, the download ends with an error at its next byte; the received bytes stay.

    Raises:
        TooLargeError: the file has more than `max_bytes` bytes. ChecksumError: its hash differs.
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
        download.run(retry_policy or RetryPolicy())
        download.check_hash()
        download.part.replace(destination)
        download.note.unlink(missing_ok=True)
    except OSError as cause:
        raise WeightsError(f"{destination}: cannot be written: {cause.strerror or cause}") from cause


def part_note(part: Path) -> Path:
    """Return the path of a part file's note."""
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

    def run(self, retry_policy: RetryPolicy) -> None:
        """Fill the part file to its end."""
        for attempt in range(1, retry_policy.attempts + 1):
            try:
                self._fetch_rest(retry_policy)
            except InterruptedDownloadError as cause:
                if attempt == retry_policy.attempts or self._is_stopped():
                    raise DownloadError(f"{self.url}: download failed: {cause}") from cause
                logger.warning("%s: %s; attempt %d of %d", self.url, cause, attempt + 1, retry_policy.attempts)
                time.sleep(retry_policy.pause_s)
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

    def _fetch_rest(self, retry_policy: RetryPolicy) -> None:
        start, origin = self._so_far()
        if origin and origin.total is not None and start == origin.total:
            return  # an earlier run was killed after the last byte
        headers = {"Range": f"bytes={start}-"} if start else {}
        if start and origin and origin.validator:
            headers["If-Range"] = origin.validator
        with answer_of(self.url, headers, retry_policy) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                self._take_as_whole(start)
                return
            if self.sha256 is None and answer.headers.get("Content-Type", "").lower().startswith("text/html"):
                raise DownloadError(f"{self.url}: download failed: the server sent a web page, not a file")
            start, total = self._resume_at(answer, start, origin)
            if total is not None and total > self.max_bytes:
                self._forget()
                raise TooLargeError(f"{self.url}: has {total} bytes, allowed are {self.max_bytes}")
            self._append(answer, start, total, retry_policy)

    def _so_far(self) -> tuple[int, _Origin | None]:
        """Return the number of bytes that the download can resume from, and their origin."""
        origin = self._read_note()
        is_ours = self.sha256 is not None or (origin is not None and origin.validator and origin.url == self.url)
        if not is_ours or not self.part.is_file():
            self._forget()
            return 0, None
        return self.part.stat().st_size, origin

    def _take_as_whole(self, start: int) -> None:
        if self.sha256 is None:  # then nothing confirms that the part is the whole file
            self._forget()
            raise InterruptedDownloadError(f"the server has no more than {start} bytes; starting anew")

    def _resume_at(self, answer: requests.Response, start: int, origin: _Origin | None) -> tuple[int, int | None]:
        """Return the offset of the answer's bytes in the file, and the file's size; write the note of a new start."""
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

    def _append(self, answer: requests.Response, start: int, total: int | None, retry_policy: RetryPolicy) -> None:
        with (
            self.part.open("ab" if start else "wb") as content,
            tqdm(
                desc=self.part.stem, initial=start, total=total, unit="B", unit_scale=True, disable=self._hidden
            ) as progress,
        ):
            for chunk in chunks_of(answer, retry_policy):
                if content.tell() + len(chunk) > self.max_bytes:
                    content.truncate(0)
                    raise TooLargeError(f"{self.url}: sends more than the {self.max_bytes} bytes allowed")
                content.write(chunk)
                progress.update(len(chunk))
                if self._is_stopped():
                    raise InterruptedDownloadError("the run was stopped")
            arrived = content.tell()
            content.flush()
            os.fsync(content.fileno())  # before the rename: a power cut must not leave a name without its bytes
        if total is not None and arrived != total:
            raise InterruptedDownloadError(f"{arrived} of {total} bytes have arrived")

    @property
    def _hidden(self) -> bool | None:
        return None if self.show_progress else True  # None: tqdm hides it if there is no terminal

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
