"""Carries an exception out of a worker: as data, for exceptions and their traces do not survive the way themselves."""

import traceback
from dataclasses import dataclass
from typing import NoReturn

from mggtalk.errors import MggtalkError


class StageBugError(RuntimeError):
    """A worker raised what no worker should raise: a bug. The message ends with the worker's own stack trace."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What was raised in a worker: `error` if it is the user's to mend, else the description of a bug."""

    error: MggtalkError | None
    description: str
    trace: str

    @classmethod
    def of(cls, exception: BaseException) -> "Failure":
        """Return `exception`, which is being handled, as data."""
        if isinstance(exception, StageBugError):  # has passed a process before: its text is the original trace
            return cls(error=None, description="", trace=str(exception))
        return cls(
            error=exception if isinstance(exception, MggtalkError) else None,
            description="".join(traceback.format_exception_only(exception)).strip(),
            trace="".join(traceback.format_exception(exception)),
        )

    def reraise(self, where: str) -> NoReturn:
        """Raise the error itself if it is the user's to mend, else a `StageBugError` that says `where`.

        Raises:
            MggtalkError: the error that was carried.
            StageBugError: anything else was raised.
        """
        if self.error is not None:
            raise self.error
        raise StageBugError(f"{where}: {self.description}\n{self.trace}")
