"""Where a data set may lie, and what is kept here of one that lies elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mggtalk.shards.storage.local import LocalStorage, Storage
from mggtalk.shards.storage.page_cache import PageCache
from mggtalk.shards.storage.remote import RemoteStorage
from mggtalk.weights.downloads import cache_root


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """What is kept on disk of data sets that lie elsewhere.

    Attributes:
        folder: may be shared by data sets and processes; None is `shards` in the cache of the registry.
        max_bytes: of all that is in the folder; what was used least recently goes first.
    """

    folder: Path | None = None
    max_bytes: int = 16 << 30


DEFAULT_CACHE = CacheLimits()


def open_storage(root: Path | str, cache: CacheLimits | None, options: Mapping[str, Any] | None) -> Storage:
    """Return the storage of a data set at a path or URL.

    Raises:
        ShardError: the URL's protocol is unknown or lacks a package.
    """
    if isinstance(root, Path):
        return LocalStorage(root)
    if (parts := urlsplit(root)).scheme == "file":
        return LocalStorage(Path(url2pathname(parts.path)))
    pages = None if cache is None else PageCache(cache.folder or cache_root() / "shards", cache.max_bytes)
    return RemoteStorage(root, pages, options)
