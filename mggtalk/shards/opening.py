"""Opens a data set: `mggtalk.open_shards`, also called `mggtalk.shards.open`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mggtalk.records import Split
from mggtalk.shards.reader import Shards
from mggtalk.shards.storage.location import DEFAULT_CACHE, CacheLimits


def open_shards(
    url: Path | str,
    split: Split | str | None = None,
    *,
    cache_dir: Path | str | None = None,
    cache_bytes: int = DEFAULT_CACHE.max_bytes,
    storage_options: Mapping[str, Any] | None = None,
) -> Shards:
    """Open a data set at a path or URL: `file://`, `https://`, `s3://`, or a folder that `dvc push` put into a remote.

    Args:
        split: keep only the clips of this split.
        cache_dir: folder on disk for pages fetched from a URL; default: `$MGGTALK_CACHE/shards`.
        cache_bytes: limit of that folder's size; 0 keeps nothing.
        storage_options: for fsspec's file system of the URL, such as `{"endpoint_url": ...}` for an S3 server.

    Raises:
        SchemaVersionError, ShardError: as `Shards`.
    """
    folder = None if cache_dir is None else Path(cache_dir)
    cache = CacheLimits(folder, cache_bytes) if cache_bytes else None
    return Shards(url, split, cache=cache, storage_options=storage_options)
