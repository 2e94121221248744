"""A stage whose results stay on disk: its definition here, its run in `mggtalk.runtime.cached_run`.

A new stage costs its class (see `stages/track/definition.py`) and a module of `pipelines/` that runs it.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar, Generic, Protocol, TypeVar

from mggtalk.records import Rejected, RejectReason, Stage, VideoRecord
from mggtalk.stages.limits import MEMORY_LIMIT_BYTES, STALL_S

RecordT = TypeVar("RecordT")
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


class CachedStage(ABC, Generic[RecordT, OutputT, ResultT]):
    """The definition of a stage: records, where finished results are, how one is made, what follows from all.

    It knows neither Ray nor processes. The per-record stage that `worker` builds runs in a child process under the
    limits here; a rejection that may be the machine's fault is not stored, so the next run tries that record again.

    Attributes:
        records: of this run, finished ones among them. store: where finished results are.
        name: of the stage, for messages and progress.
        record_name: the attribute that names a record.
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

    @abstractmethod
    def assemble(self, results: Mapping[str, ResultT | Rejected]) -> None:
        """Write what follows from all results, by record name: tables, shards, indexes.

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
