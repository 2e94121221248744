"""Chooses the storage for a path or URL, and the limits of the cache for remote data sets."""

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
    """Cache on disk for data sets behind URLs.

    Attributes:
        folder: may be shared by data sets and processes; None is `shards` in the cache folder of model weights.
        max_bytes: limit of the folder's size; the least recently used pages go first.
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
