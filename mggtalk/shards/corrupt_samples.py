"""What to do about damage while reading in bulk: stop at once, or leave the sample out and count it."""

import logging
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import TypeVar

from mggtalk.errors import SchemaVersionError, ShardError

ReadT = TypeVar("ReadT")

_logger = logging.getLogger(__name__)


class OnCorruptSample(StrEnum):
    """STOP: damage is an error. SKIP: what is damaged is left out, with a warning, and counted."""

    STOP = "stop"
    SKIP = "skip"


class CorruptSamplePolicy:
    """Reads through it obey a policy.

    Attributes:
        skipped: how many reads of each damaged sample were left out, by sample key.
    """

    def __init__(self, policy: OnCorruptSample | str = OnCorruptSample.STOP) -> None:
        self._policy = OnCorruptSample(policy)
        self.skipped: Counter[str] = Counter()

    def read(self, read: Callable[[], ReadT]) -> ReadT | None:
        """Return what `read` returns; None where it met damage that is to be skipped. One warning a sample.

        Raises:
            ShardError: damage, and the policy is to stop; always if no single sample is to blame.
            SchemaVersionError: always: skipping would leave out all there is.
        """
        try:
            return read()
        except SchemaVersionError:
            raise
        except ShardError as error:
            if self._policy is OnCorruptSample.STOP or not error.sample:
                raise
            self._count(error)
            return None

    def _count(self, error: ShardError) -> None:
        self.skipped[error.sample] += 1
        if self.skipped[error.sample] == 1:
            _logger.warning("skipped, damaged sample no. %d: %s", len(self.skipped), error)
