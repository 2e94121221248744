"""Carries an exception out of a worker as data, because exceptions and their traces do not survive pickling."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, TypeVar

from mggtalk.errors import MggtalkError, VideoError
from mggtalk.records import Rejected, RejectReason, Stage

RecordT = TypeVar("RecordT")
OutputT = TypeVar("OutputT")


class StageBugError(RuntimeError):
    """A worker raised an unexpected exception: a bug. The message ends with the worker's own stack trace."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception of a worker: `error` if the user can mend it, else the description of a bug."""

    error: MggtalkError | None
    description: str

    @classmethod
    def of(cls, exception: BaseException, where: str) -> "Failure":
        """Return `exception`, which is being handled, as data; `where` says on what it was raised."""
        if isinstance(exception, MggtalkError):
            return cls(exception, where)
        if isinstance(exception, StageBugError):  # came out of a process further in, and says where itself
            return cls(None, str(exception))
        summary = "".join(traceback.format_exception_only(exception)).strip()
        return cls(None, f"{where}: {summary}\n{''.join(traceback.format_exception(exception))}")

    def reraise(self) -> NoReturn:
        """Raise the exception that was carried.

        Raises:
            MggtalkError: the error that was carried.
            StageBugError: anything else was raised.
        """
        raise self.error or StageBugError(self.description)


def attempt(
    stage: Stage[RecordT, OutputT], record: RecordT, key_of: Callable[[RecordT], str]
) -> list[OutputT | Rejected] | Failure:
    """Return what `stage` makes of `record`; all of it, or the one rejection, or the failure that stopped it."""
    key = key_of(record)
    try:
        return list(stage(record))
    except VideoError as error:
        return [Rejected(key, RejectReason.DECODE_ERROR, str(error))]
    except MemoryError as error:
        return [Rejected(key, RejectReason.OUT_OF_MEMORY, str(error))]
    except Exception as exception:
        return Failure.of(exception, f"on record {key!r}")
