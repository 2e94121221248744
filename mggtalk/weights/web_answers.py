"""Requests a file from a web server, and sorts failures into final ones and those worth another attempt."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests
import urllib3

from mggtalk.errors import WeightsError

_CHUNK_BYTES = 1 << 16
_SLOWEST_BYTES_PER_S = 4096
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})


class DownloadError(WeightsError):
    """A file cannot be downloaded from its URL."""


class InterruptedDownloadError(Exception):
    """A download stopped but is worth another attempt."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Timeouts of a request, and number of attempts.

    Attributes:
        connect_s: for the connection. stall_s: without a byte, or with less than 4 KiB/s.
        attempts: in one call. pause_s: between them.
    """

    connect_s: float = 10.0
    stall_s: float = 60.0
    attempts: int = 3
    pause_s: float = 1.0


def is_web_url(text: str) -> bool:
    """Return whether this is an http or https URL."""
    try:
        parts = urlsplit(text)
    except ValueError:  # unmatched brackets
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


@contextmanager
def answer_of(url: str, headers: Mapping[str, str], retry_policy: RetryPolicy) -> Iterator[requests.Response]:
    """Send a request and give the answer with its body still unread. Redirects are followed to http and https only.

    Raises:
        InterruptedDownloadError: the server is busy, or the connection broke, here or in the block.
        DownloadError: no connection, the server refuses (except 416, which is returned), or it sends no plain file.
    """
    try:
        with requests.get(
            url,
            headers={"Accept-Encoding": "identity", **headers},  # a range of compressed bytes is useless
            stream=True,
            timeout=(retry_policy.connect_s, retry_policy.stall_s),
        ) as answer:
            if answer.status_code in _BUSY:
                raise InterruptedDownloadError(f"{answer.status_code} {answer.reason}")
            if answer.status_code != requests.codes.requested_range_not_satisfiable:
                answer.raise_for_status()
            if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise DownloadError(f"{url}: download failed: the server insists on compressing")
            yield answer
    except (
        requests.ConnectionError,
        requests.Timeout,
        requests.exceptions.ChunkedEncodingError,
        urllib3.exceptions.ProtocolError,
        urllib3.exceptions.TimeoutError,
    ) as cause:
        if _is_dead(cause):  # a list may have thousands of dead URLs: try each only once
            raise DownloadError(f"{url}: download failed: no connection: {cause}") from cause
        raise InterruptedDownloadError(str(cause)) from cause
    except requests.RequestException as cause:
        raise DownloadError(f"{url}: download failed: {cause}") from cause
    except (ValueError, urllib3.exceptions.HTTPError) as cause:  # such as a redirect to an invalid URL
        raise DownloadError(f"{url}: download failed: {cause}") from cause


def chunks_of(answer: requests.Response, retry_policy: RetryPolicy) -> Iterator[bytes]:
    """Yield the body's bytes as they arrive.

    Raises:
        InterruptedDownloadError: they arrive too slowly.
    """
    since_s, received = time.monotonic(), 0
    while chunk := answer.raw.read1(_CHUNK_BYTES, decode_content=False):
        yield chunk
        received += len(chunk)
        waited_s = time.monotonic() - since_s
        if waited_s >= retry_policy.stall_s:
            if received < _SLOWEST_BYTES_PER_S * waited_s:
                raise InterruptedDownloadError(f"slower than {_SLOWEST_BYTES_PER_S} bytes/s")
            since_s, received = time.monotonic(), 0


def validator_of(answer: requests.Response) -> str:
    """Return the validator by which a later request can check that the file is unchanged; empty if there is none.

    Source: RFC 9110, section 13.1.5: a strong ETag, or a date. A weak ETag does not guarantee equal bytes.
    """
    etag = answer.headers.get("ETag", "")
    return etag if etag.startswith('"') else answer.headers.get("Last-Modified", "")


def _is_dead(cause: Exception) -> bool:
    """Return whether there was no connection at all: unknown host, connection refused, or connection timeout."""
    reason = getattr(cause.args[0], "reason", None) if cause.args else None
    return isinstance(cause, requests.ConnectTimeout) or isinstance(reason, urllib3.exceptions.NewConnectionError)
