"""Asks a web server for a file, and tells what came of it: bytes, a refusal, or what is worth another attempt."""

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
    """A file cannot be had from its URL."""


class InterruptedDownloadError(Exception):
    """A download stopped, and is worth another attempt."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server is waited for.

    Attributes:
        connect_s: to answer at all. stall_s: without a byte, or with less than 4 KiB/s.
        attempts: in one call. pause_s: between them.
    """

    connect_s: float = 10.0
    stall_s: float = 60.0
    attempts: int = 3
    pause_s: float = 1.0


def is_web_url(text: str) -> bool:
    """Tell whether this is an address of http or https."""
    try:
        parts = urlsplit(text)
    except ValueError:  # brackets that do not match
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


@contextmanager
def answer_of(url: str, headers: Mapping[str, str], patience: Patience) -> Iterator[requests.Response]:
    """Give the answer to a request, the body still to be read. Redirects are followed to http and https only.

    Raises:
        InterruptedDownloadError: the server is busy, or the connection broke, here or in the block.
        DownloadError: nobody is there, the server refuses, or what it has is no file; 416 is handed on.
    """
    try:
        with requests.get(
            url,
            headers={"Accept-Encoding": "identity", **headers},  # a range of compressed bytes is of no use
            stream=True,
            timeout=(patience.connect_s, patience.stall_s),
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
        if _is_dead(cause):  # thousands of dead addresses must not be asked three times each
            raise DownloadError(f"{url}: download failed: no connection: {cause}") from cause
        raise InterruptedDownloadError(str(cause)) from cause
    except requests.RequestException as cause:
        raise DownloadError(f"{url}: download failed: {cause}") from cause
    except (ValueError, urllib3.exceptions.HTTPError) as cause:  # a redirect to an address that is none, say
        raise DownloadError(f"{url}: download failed: {cause}") from cause


def chunks_of(answer: requests.Response, patience: Patience) -> Iterator[bytes]:
    """Yield the body's bytes as they come.

    Raises:
        InterruptedDownloadError: they come too slowly.
    """
    since_s, received = time.monotonic(), 0
    while chunk := answer.raw.read1(_CHUNK_BYTES, decode_content=False):
        yield chunk
        received += len(chunk)
        waited_s = time.monotonic() - since_s
        if waited_s >= patience.stall_s:
            if received < _SLOWEST_BYTES_PER_S * waited_s:
                raise InterruptedDownloadError(f"slower than {_SLOWEST_BYTES_PER_S} bytes/s")
            since_s, received = time.monotonic(), 0


def validator_of(answer: requests.Response) -> str:
    """Return what the server can be asked by later whether its file is still the same; empty if nothing can.

    Source: RFC 9110, section 13.1.5: a strong ETag, or a date. A weak ETag vouches for no bytes.
    """
    etag = answer.headers.get("ETag", "")
    return etag if etag.startswith('"') else answer.headers.get("Last-Modified", "")


def _is_dead(cause: Exception) -> bool:
    """Tell whether nobody was there: no such host, connection refused, or no answer to it."""
    reason = getattr(cause.args[0], "reason", None) if cause.args else None
    return isinstance(cause, requests.ConnectTimeout) or isinstance(reason, urllib3.exceptions.NewConnectionError)
