"""Downloads the files that a recipe names by URL, before `ingest` begins, and rejects those that fail.

It happens here and not in the workers: a file that several rows name is fetched once, a worker on another machine
would fetch to a disk that nobody reads from, and code that decodes strangers' files has no need of a network.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path

from mggtalk.files import prune
from mggtalk.records import Rejected, RejectReason
from mggtalk.stages.ingest.items import IngestItem
from mggtalk.weights.web_answers import DownloadError
from mggtalk.weights.web_files import ChecksumError, TooLargeError, fetch_url, part_note

_logger = logging.getLogger(__name__)

_AT_ONCE = 8

Fetch = Callable[..., None]


def to_download(items: Iterable[IngestItem]) -> list[IngestItem]:
    """Return one input for each file that is fetched from a URL and is not there yet."""
    by_path = {item.path: item for item in items if item.url}
    return [item for path, item in by_path.items() if not Path(path).is_file()]


def fetch_media(
    items: Iterable[IngestItem], parts: Path, fetch: Fetch = fetch_url
) -> Iterator[tuple[str, Rejected | None]]:
    """Fetch the files of `items`, several at once; yield the path of each as it ends, with its rejection if it failed.

    A download that is interrupted, by a signal too, goes on in the next run.

    Args:
        items: as `to_download` gives them.
        parts: folder of what has arrived so far, on the file system of the media; parts of other files are removed.

    Raises:
        WeightsError: a file cannot be written.
    """
    wanted = {item.path: parts / f"{Path(item.path).name}.part" for item in items}
    prune(parts, {path.name for part in wanted.values() for path in (part, part_note(part))})
    stop = threading.Event()
    get = partial(fetch, stop=stop, show_progress=False)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        pending = {pool.submit(_fetch_one, item, wanted[item.path], get): item.path for item in items}
        try:
            for future in as_completed(pending):
                yield pending[future], future.result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def _fetch_one(item: IngestItem, part: Path, fetch: Fetch) -> Rejected | None:
    try:
        fetch(item.url, Path(item.path), item.sha256 or None, item.max_bytes, part=part)
    except DownloadError as failure:
        _logger.warning("ingest: %s; the next run tries again", failure)
        return Rejected(item.path, _reason(failure), str(failure))
    return None


def _reason(failure: DownloadError) -> RejectReason:
    if isinstance(failure, TooLargeError):
        return RejectReason.TOO_LARGE
    return RejectReason.CHECKSUM_MISMATCH if isinstance(failure, ChecksumError) else RejectReason.DOWNLOAD_FAILED
