"""Reads only the needed parts of `index.parquet`: labels on opening, locations of members by groups of 1,000 samples.

Members make up nine tenths of an index, and the index of 10,000 shards may have a hundred megabytes behind a URL.
"""

import bisect
import hashlib
import itertools
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mggtalk.errors import ShardError
from mggtalk.shards.index import SampleRow, check_schema, row_at
from mggtalk.shards.schema import INDEX_NAME
from mggtalk.shards.storage.local import Storage

_FOOTER_BYTES = 1 << 16
"""First read, from the end of the file: large enough for the footer of some 20,000 samples."""

_LARGEST_GAP_BYTES = 1 << 16
"""Largest gap between two ranges that are read as one, because another request costs more."""

_ENDING_BYTES = 8  # of a Parquet file: length of the footer, then "PAR1"

LABELS = (
    "key",
    "clip_id",
    "video_id",
    "identity",
    "license",
    "split",
    "start_frame",
    "num_frames",
    "clip_num_frames",
    "source_frames",
)
"""Columns that are read on opening."""


_PARSE_ERRORS = (pa.ArrowException, OSError, ValueError)
"""Errors of Arrow for a damaged file: OSError for its Thrift, UnicodeDecodeError for names that are no text."""


class LazyIndex:
    """`index.parquet` of a data set. Safe to share between threads and across a fork.

    Attributes:
        where: path or URL, for people.
        labels: table of the columns `LABELS`.
    """

    def __init__(self, storage: Storage) -> None:
        """Read the labels.

        Raises:
            SchemaVersionError: written under another schema version. ShardError: no index, or it is damaged.
        """
        self.where = storage.where(INDEX_NAME)
        self._storage = storage
        try:
            self._size, self._footer = self._read_footer()
        except FileNotFoundError:
            raise ShardError(
                f"{self.where}: no such file; it is written last, so writing these shards may not have finished"
            ) from None
        except OSError as cause:
            raise self._unreadable(cause) from None
        try:
            check_schema(self._footer.schema.to_arrow_schema(), self.where)
            group_sizes = [self._footer.row_group(group).num_rows for group in range(self._footer.num_row_groups)]
        except _PARSE_ERRORS as cause:
            raise self._damaged(cause) from None
        self._group_starts = list(itertools.accumulate(group_sizes, initial=0))
        self.labels = self._read(range(len(group_sizes)), LABELS)
        self._group = lru_cache(maxsize=None)(self._read_group)

    def row(self, index: int) -> SampleRow:
        """Return the row at `index`.

        Raises:
            ShardError: the index is damaged, or was replaced since it was opened.
        """
        group = bisect.bisect_right(self._group_starts, index) - 1
        row = row_at(self._group(group), index - self._group_starts[group])
        if row.key != self.labels["key"][index].as_py():
            raise ShardError(f"{self.where}: is another one than when it was opened: open the data set again")
        return row

    def sha256(self) -> str:
        """Return the hash of the file.

        Raises:
            ShardError: it cannot be read.
        """
        try:
            return hashlib.sha256(self._storage.read(INDEX_NAME, 0, self._size)).hexdigest()
        except OSError as cause:
            raise self._unreadable(cause) from None

    def _read_footer(self) -> tuple[int, pq.FileMetaData]:
        size = self._storage.size(INDEX_NAME)
        tail = self._read_tail(size, _FOOTER_BYTES)
        length = int.from_bytes(tail[-_ENDING_BYTES:-4], "little") + _ENDING_BYTES
        if length > len(tail):
            tail = self._read_tail(size, length)
        try:
            return size, pq.read_metadata(pa.BufferReader(tail))
        except _PARSE_ERRORS as cause:
            raise self._damaged(cause) from None

    def _read_tail(self, size: int, length: int) -> bytes:
        start = max(size - length, 0)
        return self._storage.read(INDEX_NAME, start, size - start)

    def _read_group(self, group: int) -> pa.Table:
        return self._read([group], self._footer.schema.to_arrow_schema().names)

    def _read(self, groups: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """Return columns of row groups: fetch only their ranges, and put them into a buffer that is zero elsewhere."""
        try:
            ranges = _merged(_chunk_ranges(self._footer, groups, set(columns)))
        except _PARSE_ERRORS as cause:
            raise self._damaged(cause) from None
        try:
            parts = self._storage.read_ranges(INDEX_NAME, ranges)
        except OSError as cause:
            raise self._unreadable(cause) from None
        content = np.zeros(self._size, np.uint8)  # memory pages that are never written take no memory
        try:
            for (offset, _), data in zip(ranges, parts, strict=True):
                content[offset : offset + len(data)] = np.frombuffer(data, np.uint8)
            file = pq.ParquetFile(
                pa.BufferReader(pa.py_buffer(content)), metadata=self._footer, page_checksum_verification=True
            )
            return file.read_row_groups(list(groups), columns=list(columns))
        except _PARSE_ERRORS as cause:
            raise self._damaged(cause) from None

    def _unreadable(self, cause: Exception) -> ShardError:
        return ShardError(f"index cannot be read: {cause}")

    def _damaged(self, cause: Exception) -> ShardError:
        return ShardError(f"{self.where}: damaged: {' '.join(str(cause).split())}")


def _chunk_ranges(footer: pq.FileMetaData, groups: Sequence[int], columns: set[str]) -> list[tuple[int, int]]:
    """Return (offset, size) of the given columns of every group."""
    ranges = []
    for group in groups:
        row_group = footer.row_group(group)
        for index in range(row_group.num_columns):
            column: Any = row_group.column(index)
            if column.path_in_schema.split(".")[0] in columns:
                offset = column.dictionary_page_offset or column.data_page_offset
                ranges.append((offset, column.total_compressed_size))
    return ranges


def _merged(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for offset, size in sorted(ranges):
        if merged and offset - sum(merged[-1]) <= _LARGEST_GAP_BYTES:
            merged[-1] = (merged[-1][0], max(offset + size, sum(merged[-1])) - merged[-1][0])
        else:
            merged.append((offset, size))
    return merged
