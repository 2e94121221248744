"""Reads what each stage rejected and why from its `rejects.parquet`, and checks that the counts add up."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pyarrow import ArrowException, parquet

from mggtalk.errors import StageError
from mggtalk.records import Rejected, RejectReason


@dataclass(frozen=True, slots=True)
class StageCounts:
    """Number of inputs of a stage and of those it kept, and the rejected ones.

    Attributes:
        unit: name of an input, in the plural (`videos`, `clips`).

    Raises:
        StageError: the counts do not add up, so an input was lost or counted twice.
    """

    stage: str
    unit: str
    inputs: int
    kept: int
    rejected: tuple[Rejected, ...]

    def __post_init__(self) -> None:
        """Check the sum."""
        if self.inputs != self.kept + len(self.rejected):
            raise StageError(
                f"{self.stage}: {self.inputs} {self.unit} went in, but {self.kept} were kept and "
                f"{len(self.rejected)} rejected: the artifacts do not belong together, run the stages again"
            )

    @property
    def reasons(self) -> list[tuple[RejectReason, int]]:
        """Reasons with their counts, the most frequent first."""
        counts = Counter(rejection.reason for rejection in self.rejected)
        return sorted(counts.items(), key=lambda item: (-item[1], item[0].value))


def read_rejects(path: Path) -> tuple[Rejected, ...]:
    """Read the rows of a `rejects.parquet` (columns `key`, `reason`, `detail`), sorted by key.

    Raises:
        StageError: the file is missing or not a table of rejects.
    """
    try:
        rows = parquet.read_table(path, columns=["key", "reason", "detail"]).to_pylist()
        rejected = [Rejected(row["key"], RejectReason(row["reason"]), row["detail"] or "") for row in rows]
    except (OSError, ValueError, KeyError, ArrowException) as cause:
        raise StageError(f"{path}: cannot be read as a table of rejects: {' '.join(str(cause).split())}") from None
    return tuple(sorted(rejected, key=lambda rejection: (rejection.key, rejection.reason.value)))
