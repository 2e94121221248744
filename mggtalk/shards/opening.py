"""The door to a data set: `mggtalk.shards.open`."""

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
    """Open a data set at a path or URL: `file://`, `https://`, `s3://`, or what `dvc push` left in a remote.

    Args:
        split: leaves all clips of other splits out.
        cache_dir: folder on disk for what a URL gives; `$MGGTALK_CACHE/shards` if not stated.
        cache_bytes: the most that the folder holds; 0 keeps nothing.
        storage_options: of the URL's file system, as fsspec names them: `{"endpoint_url": ...}` for an S3 server.

    Raises:
        SchemaVersionError, ShardError: as `Shards`.
    """
    folder = None if cache_dir is None else Path(cache_dir)
    cache = CacheLimits(folder, cache_bytes) if cache_bytes else None
    return Shards(url, split, cache=cache, storage_options=storage_options)
