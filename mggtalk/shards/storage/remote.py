"""Reads byte ranges of the files of a data set behind a URL through fsspec, in pages that a cache on disk may keep.

A page is a run of whole members of a sample, about `PAGE_BYTES` long. Before it is kept, each member is checked against
the index, so a cached page matches the index even if the server's files have changed.
"""

import json
import os
import zlib
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import fsspec

from mggtalk.errors import ShardError
from mggtalk.shards.index import SampleRow
from mggtalk.shards.storage.page_cache import PageCache
from mggtalk.shards.storage.retries import PAUSES_S, transport_errors, with_retries

ResultT = TypeVar("ResultT")

PROTOCOLS = ("https", "http", "s3", "memory")

PAGE_BYTES = 1 << 19
"""Approximate size of a request; other sizes were measured (docs/experiments.md)."""

_CONNECTIONS = 16
"""Number of concurrent requests."""

_DVC_FOLDER_SUFFIX = ".dir"

# The proxy comes from the environment, as for `requests` and `pip`. A silent server counts as gone, and only
# `with_retries` tries again.
_CONNECT_S, _READ_S = 10, 30
_HTTP_OPTIONS = {
    "client_kwargs": {
        "trust_env": True,
        "timeout": aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_READ_S),
    }
}
_S3_OPTIONS = {
    "config_kwargs": {"connect_timeout": _CONNECT_S, "read_timeout": _READ_S, "retries": {"total_max_attempts": 1}}
}
_OPTIONS: Mapping[str, Mapping[str, Any]] = {"http": _HTTP_OPTIONS, "https": _HTTP_OPTIONS, "s3": _S3_OPTIONS}


class _ProcessState:
    """State that does not survive a fork: event loops, and locks that another thread may have held at that moment."""

    def __init__(self, protocol: str, options: Mapping[str, Any]) -> None:
        self.process = os.getpid()
        self.file_system: Any = fsspec.filesystem(protocol, **options)
        self._locks = [Lock() for _ in range(_CONNECTIONS)]

    def lock_of(self, page: str) -> Lock:
        """Return the lock of a page, which it shares with other pages."""
        return self._locks[hash(page) % len(self._locks)]


@dataclass(frozen=True, slots=True)
class _Page:
    """Members `first` to `last` (exclusive) of a sample, at `offset` of the shard."""

    key: str
    offset: int
    size: int
    first: int
    last: int


class RemoteStorage:
    """Reads byte ranges of the files below a URL; see `Storage`.

    A URL that ends in `.dir` is a folder in a DVC remote, as `dvc push` writes it: an object that lists the folder's
    files with their hashes. The files lie beside it, named by hash.
    """

    def __init__(
        self,
        url: str,
        cache: PageCache | None = None,
        options: Mapping[str, Any] | None = None,
        page_bytes: int = PAGE_BYTES,
        pauses_s: tuple[float, ...] = PAUSES_S,
    ) -> None:
        """Set the URL and the options; no request is sent yet.

        Args:
            cache: keeps pages; without one, members are fetched one by one.
            options: for fsspec's file system.
            pauses_s: between the tries of a request.

        Raises:
            ShardError: the URL's protocol is not one of `PROTOCOLS`, or needs a package that is not installed.
        """
        self._url = url.rstrip("/")
        self._protocol = urlsplit(url).scheme
        self._cache = cache
        self._options = dict(options or {})
        self._page_bytes = page_bytes
        self._pauses_s = pauses_s
        self._state: _ProcessState | None = None
        self._files: Mapping[str, str] | None = None
        if self._protocol not in PROTOCOLS:
            raise ShardError(
                f"{self.where('')}: protocol: got {self._protocol!r}, expected one of {', '.join(PROTOCOLS)}, file"
            )
        try:
            self._here()
        except ImportError as cause:
            raise ShardError(f"{self.where('')}: {cause}: pip install 'mggtalk[s3]'") from None

    def where(self, name: str) -> str:
        """Return the URL of `name`, or of the data set if empty, without passwords; in a DVC folder `#` precedes it."""
        parts = urlsplit(self._url)._replace(query="")
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        if not name:
            return url
        return f"{url}#{name}" if self._is_dvc_folder() else _below(url, name)

    def size(self, name: str) -> int:
        """Return the size of the file `name` in bytes.

        Raises:
            OSError: the file is missing, or cannot be read after several tries.
        """
        size = self._try(name, partial(_size_of, self._here().file_system))
        if size is None:
            raise OSError(f"{self.where(name)}: the server does not state the size of its files")
        return int(size)

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Return the bytes `offset` to `offset + size` of the file `name`; fewer where it ends earlier.

        Raises:
            OSError: the file is missing or cannot be read after several tries, or the server ignores byte ranges.
        """
        if size == 0:
            return b""
        data = self._try(name, lambda url: self._here().file_system.cat_file(url, start=offset, end=offset + size))
        if len(data) > size:
            raise OSError(f"{self.where(name)}: the server does not answer requests for a range of bytes")
        return bytes(data)

    def read_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Read each (offset, size) of the file `name`, several at a time.

        Raises:
            As `read`.
        """
        with ThreadPoolExecutor(min(_CONNECTIONS, len(ranges) or 1)) as threads:
            return list(threads.map(lambda part: self.read(name, *part), ranges))

    def read_member(self, row: SampleRow, index: int) -> bytes:
        """Return the bytes of the member at `index` of a sample, from the cache if it has them intact.

        Raises:
            As `read`.
        """
        offset, size = row.member_offsets[index], row.member_sizes[index]
        if self._cache is None:
            return self.read(row.shard, offset, size)
        page = _page_of(row, index, self._page_bytes)
        with self._here().lock_of(page.key):  # threads that want the same page wait for the first of them
            kept = self._cache.read(page.key, offset - page.offset, size)
            if kept is not None and zlib.crc32(kept) == row.member_crc32[index]:
                return kept
            content = self.read(row.shard, page.offset, page.size)
            if _is_intact(row, page, content):
                self._cache.write(page.key, content)
        return content[offset - page.offset :][:size]

    def _try(self, name: str, request: Callable[[str], ResultT]) -> ResultT:
        return self._try_url(self._locate(name), self.where(name), request)

    def _try_url(self, url: str, where: str, request: Callable[[str], ResultT]) -> ResultT:
        return with_retries(lambda: request(url), where, transport_errors(self._protocol), self._pauses_s)

    def _here(self) -> _ProcessState:
        """Return the state of this process, made anew after a fork."""
        if self._state is None or self._state.process != os.getpid():
            options = {**_OPTIONS.get(self._protocol, {}), **self._options}
            self._state = _ProcessState(self._protocol, options)
        return self._state

    def _locate(self, name: str) -> str:
        if not self._is_dvc_folder():
            return _below(self._url, name)
        if self._files is None:
            self._files = self._list_dvc_folder()
        if name not in self._files:
            raise FileNotFoundError(f"{self.where(name)}: not one of {len(self._files)} files")
        return self._files[name]

    def _is_dvc_folder(self) -> bool:
        return urlsplit(self._url).path.endswith(_DVC_FOLDER_SUFFIX)

    def _list_dvc_folder(self) -> Mapping[str, str]:
        where = self.where("")
        content = self._try_url(self._url, where, self._here().file_system.cat_file)
        try:
            hashes = {entry["relpath"]: entry["md5"] for entry in json.loads(content)}
        except (ValueError, TypeError, KeyError) as cause:
            raise OSError(f"{where}: not a list of files as DVC writes it: {cause!r}") from None
        parts = urlsplit(self._url)
        store = parts._replace(path=parts.path.rsplit("/", 2)[0]).geturl()
        return {name: _below(store, f"{digest[:2]}/{digest[2:]}") for name, digest in hashes.items()}


def _size_of(file_system: Any, url: str) -> int | None:
    try:
        size: int | None = file_system.size(url)
    except FileNotFoundError:  # fsspec raises this for any fault of a web server
        file_system.cat_file(url, start=0, end=1)  # raises the actual error
        raise
    return size


def _below(url: str, name: str) -> str:
    """Return the URL of a file; a query (`?...`) stays at the end."""
    parts = urlsplit(url)
    return parts._replace(path=f"{parts.path.rstrip('/')}/{name}").geturl()


def _page_of(row: SampleRow, index: int, page_bytes: int) -> _Page:
    """Return the page that holds a member: all members whose data begins in the same stretch of `page_bytes`."""
    stretch = (row.member_offsets[index] - row.offset) // page_bytes
    begin = row.offset + stretch * page_bytes
    first, last = (bisect_left(row.member_offsets, edge) for edge in (begin, begin + page_bytes))
    offset, end = row.member_offsets[first], row.member_offsets[last - 1] + row.member_sizes[last - 1]
    return _Page(f"{row.sha256}-{page_bytes}-{stretch}", offset, end - offset, first, last)


def _is_intact(row: SampleRow, page: _Page, content: bytes) -> bool:
    view = memoryview(content)
    return all(
        zlib.crc32(view[row.member_offsets[index] - page.offset :][: row.member_sizes[index]])
        == row.member_crc32[index]
        for index in range(page.first, page.last)
    )
