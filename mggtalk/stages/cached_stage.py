"""A stage whose results stay on disk: its definition here, its run in `mggtalk.runtime.cached_run`.

A new stage costs its class (see `stages/track/definition.py`) and a module of `pipelines/` that runs it.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Generic, Protocol, TypeVar

from mggtalk.records import Rejected, RejectReason, Stage, VideoRecord
from mggtalk.result_cache import ResultCache
from mggtalk.stages.limits import DEPENDS_ON_MACHINE, MEMORY_LIMIT_BYTES, STALL_S

RecordT = TypeVar("RecordT", bound=Hashable)
OutputT = TypeVar("OutputT")
ResultT = TypeVar("ResultT")
RecordT_contra = TypeVar("RecordT_contra", contravariant=True)
OutputT_contra = TypeVar("OutputT_contra", contravariant=True)
ResultT_co = TypeVar("ResultT_co", covariant=True)


class ResultStore(Protocol[RecordT_contra, OutputT_contra, ResultT_co]):
    """Results of finished records, under their content keys. A result that is there is whole."""

    def find(self, record: RecordT_contra) -> ResultT_co | Rejected | None:
        """Return the record's result; None where it is not there, or is damaged."""

    def keep(self, record: RecordT_contra, outputs: Sequence[OutputT_contra | Rejected]) -> ResultT_co | Rejected:
        """Store what the per-record stage made of the record, and return it as `find` will."""


class KeyedStore(Protocol[OutputT_contra, ResultT_co]):
    """Results by content key alone."""

    def find(self, key: str) -> ResultT_co | Rejected | None:
        """Return the result; None where it is not there, or is damaged."""

    def keep(self, key: str, results: Sequence[OutputT_contra | Rejected]) -> ResultT_co | Rejected:
        """Store the outputs, and return the result as `find` will."""


class StoreByRecord(Generic[RecordT, OutputT, ResultT]):
    """A `ResultStore` on top of a keyed one: looks up the key of each record."""

    def __init__(self, store: KeyedStore[OutputT, ResultT], key_of: Callable[[RecordT], str]) -> None:
        self._store, self._key_of = store, key_of

    def find(self, record: RecordT) -> ResultT | Rejected | None:
        """Return the record's result; None where it is not there, or is damaged."""
        return self._store.find(self._key_of(record))

    def keep(self, record: RecordT, outputs: Sequence[OutputT | Rejected]) -> ResultT | Rejected:
        """Store what the per-record stage made of the record, and return it as `find` will."""
        return self._store.keep(self._key_of(record), outputs)


class FileStore(Generic[RecordT, OutputT]):
    """A `ResultStore` of one file per record, named by its content key; the result is the path of the file.

    Args:
        files: folder and suffix. keys: the content key of every record of this run.
        write: writes what the per-record stage made of a record to a path, where it appears whole.
    """

    def __init__(
        self,
        files: ResultCache,
        keys: Mapping[RecordT, str],
        write: Callable[[Path, RecordT, Sequence[OutputT | Rejected]], None],
    ) -> None:
        self._files, self._keys, self._write = files, keys, write

    def path(self, record: RecordT) -> Path:
        """Return the path of the record's file, which need not exist."""
        return self._files.path(self._keys[record])

    def find(self, record: RecordT) -> Path | None:
        """Return the record's file; None where it is not there."""
        return path if (path := self.path(record)).is_file() else None

    def keep(self, record: RecordT, outputs: Sequence[OutputT | Rejected]) -> Path:
        """Write the record's file, and return its path."""
        self._write(self.path(record), record, outputs)
        return self.path(record)

    def prune(self) -> None:
        """Remove the files of other inputs, parameters, models or code."""
        self._files.prune(list(self._keys.values()))


class CachedStage(ABC, Generic[RecordT, OutputT, ResultT]):
    """The definition of a stage: records, where finished results are, how one is made, what follows from all.

    It knows neither Ray nor processes. The per-record stage that `worker` builds runs in a child process under the
    limits here.

    Attributes:
        records: of this run, finished ones among them. store: where finished results are.
        name: of the stage, for messages and progress.
        record_name: the attribute that names a record in messages and rejections; several records may share a name.
        retried: rejections that are not stored, so that the next run tries these records again.
        unit, amount_unit: what a record is, and what `amount_of` counts, for progress and speed.
        stall_s: longest time without a sign of life; infinity for work that gives none.
        memory_limit_bytes: of the child process.
        wants_gpu: whether a GPU helps the per-record stage.
        video_of: gives the video whose file is checked before and after the work (`WithVideoFile`); None checks none.
    """

    records: Sequence[RecordT]
    store: ResultStore[RecordT, OutputT, ResultT]
    name: ClassVar[str]
    record_name: ClassVar[str]
    unit: ClassVar[str] = "video"
    amount_unit: ClassVar[str] = "frame"
    retried: ClassVar[frozenset[RejectReason]] = DEPENDS_ON_MACHINE
    stall_s: float = STALL_S
    memory_limit_bytes: int = MEMORY_LIMIT_BYTES
    wants_gpu: bool = False
    video_of: Callable[[RecordT], VideoRecord] | None = None

    @abstractmethod
    def worker(self) -> Callable[[], Stage[RecordT, OutputT]]:
        """Return a factory of the per-record stage; it is pickled, and called in each child process."""

    @abstractmethod
    def deadline(self) -> Callable[[RecordT], float]:
        """Return the function that gives the seconds a record may take; it is pickled."""

    @abstractmethod
    def amount_of(self, record: RecordT) -> float:
        """Return the work in a record, in `amount_unit`; large records go first."""

    def outcome_of(self, record: RecordT, outputs: list[OutputT | Rejected]) -> object:  # noqa: ARG002  a default
        """Return a rejection where the summary should count the record as one although it has outputs."""
        return None

    def prune(self) -> None:
        """Remove results that no record of this run has; called before finished ones are looked for."""

    def describe_finished(self, finished: Collection[RecordT]) -> str:  # noqa: ARG002  a default
        """Return how much earlier runs finished, such as `2 of 3 videos`; empty where the log should not say."""
        return ""

    @abstractmethod
    def assemble(self, results: Mapping[RecordT, ResultT | Rejected]) -> None:
        """Write what follows from the results of all records: tables, shards, indexes.

        Raises:
            StageError: nothing was kept.
        """


def describe_counts(name: str, results: Iterable[object]) -> str:
    """Return the line that sums up what records became, one result each, in this run or in one before."""
    results = list(results)
    rejected = Counter(result.reason for result in results if isinstance(result, Rejected))
    return count_line(name, len(results) - rejected.total(), rejected)


def count_line(name: str, kept: int, rejected: Counter[RejectReason]) -> str:
    """Return the line that states how many records were kept, and how many rejected, by reason."""
    reasons = ", ".join(f"{reason} {count}" for reason, count in rejected.most_common())
    return f"{name}: kept {kept}, rejected {rejected.total()}" + (f" ({reasons})" if reasons else "")
