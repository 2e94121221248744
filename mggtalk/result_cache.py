"""Keeps one file per finished record, named by the record's content key, so that a killed run can be resumed.

results = ResultCache(directory, suffix=".parquet")
results.prune(keys_of_this_run)             # results of other parameters, models or code
to_do = results.unfinished(records, key_of)
run_stage(..., to_do, on_result=lambda record, outputs: results.write(key_of(record), encode(outputs)))
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mggtalk.files import atomic_write, prune

RecordT = TypeVar("RecordT")


@dataclass(frozen=True, slots=True)
class ResultCache:
    """A folder with one file per finished record; a file that is there is whole."""

    directory: Path
    suffix: str

    def path(self, key: str) -> Path:
        """Return the path of the result with this content key, which need not exist."""
        return self.directory / f"{key}{self.suffix}"

    def unfinished(self, records: Iterable[RecordT], key_of: Callable[[RecordT], str]) -> list[RecordT]:
        """Return the records without a result, in their order."""
        return [record for record in records if not self.path(key_of(record)).is_file()]

    def write(self, key: str, content: bytes) -> None:
        """Keep `content` as the result with this key; it appears whole."""
        atomic_write(self.path(key), content)

    def read(self, key: str) -> bytes:
        """Return the result with this key."""
        return self.path(key).read_bytes()

    def prune(self, keys: Sequence[str]) -> list[str]:
        """Remove every file that is not the result of one of `keys`; return the names that went."""
        return prune(self.directory, {self.path(key).name for key in keys})
