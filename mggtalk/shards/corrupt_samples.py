"""Policy for corrupt samples in bulk reading: stop at the first one, or skip and count them."""

import logging
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import TypeVar

from mggtalk.errors import SchemaVersionError, ShardError

ReadT = TypeVar("ReadT")

_logger = logging.getLogger(__name__)


class OnCorruptSample(StrEnum):
    """STOP: a corrupt sample is an error. SKIP: corrupt samples are left out with a warning, and counted."""

    STOP = "stop"
    SKIP = "skip"


class CorruptSamplePolicy:
    """Applies the policy to reads that go through it.

    Attributes:
        skipped: number of skipped reads of each corrupt sample, by sample key.
    """

    def __init__(self, policy: OnCorruptSample | str = OnCorruptSample.STOP) -> None:
        self._policy = OnCorruptSample(policy)
        self.skipped: Counter[str] = Counter()

    def read(self, read: Callable[[], ReadT]) -> ReadT | None:
        """Return what `read` returns, or None where the sample is corrupt and to be skipped; warn once per sample.

        Raises:
            ShardError: a sample is corrupt and the policy is to stop; or no single sample is to blame.
            SchemaVersionError: always, because skipping would leave out the whole data set.
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
            _logger.warning("skipped corrupt sample no. %d: %s", len(self.skipped), error)
