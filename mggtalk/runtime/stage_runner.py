"""Runs a stage over records on Ray Data: one record a task, one stage object an actor, results as they come.

Records and results travel as one pickled column. They are dataclasses of arrays and encoded bytes: Arrow would need a
schema for each and would copy every array into it, while pickle writes and reads each buffer once and gives the same
objects back. They are pickled by our own code on both sides only; nothing that was stored is ever unpickled.
"""

import logging
import pickle
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from mggtalk.errors import StageError
from mggtalk.records import Rejected, RejectReason, Stage
from mggtalk.runtime.failures import Failure, StageBugError, attempt
from mggtalk.runtime.progress import Progress
from mggtalk.runtime.ray_session import ray_session, requested_workers
from mggtalk.stages.cached_stage import count_line

_logger = logging.getLogger(__name__)

RecordT = TypeVar("RecordT")
OutputT = TypeVar("OutputT")

_MAX_RESTARTS = 3
"""A lost node is survived; a stage that kills its process every time is not tried for ever."""


@dataclass(frozen=True, slots=True)
class StageSummary:
    """The counts of a run. `kept + sum(rejected.values())` is the number of records.

    Attributes:
        kept: records with at least one output. num_outputs: outputs of all of them.
        amount: total of `amount_of`, or the number of records. unit: what it counts.
    """

    name: str
    kept: int
    num_outputs: int
    rejected: Counter[RejectReason]
    amount: float
    unit: str
    seconds: float

    def __str__(self) -> str:
        speed = self.amount / self.seconds if self.seconds else 0.0
        counts = count_line(self.name, self.kept, self.rejected)
        return f"{counts}, {speed:.1f} {self.unit}s/s, {self.seconds:.1f} s"


def run_stage(  # noqa: PLR0913 - one call says all that a run is
    factory: Callable[[], Stage[RecordT, OutputT]],
    records: Sequence[RecordT],
    *,
    name: str,
    key_of: Callable[[RecordT], str],
    on_result: Callable[[RecordT, list[OutputT | Rejected]], None],
    num_workers: int | None = None,
    wants_gpu: bool = False,
    unit: str = "video",
    amount_of: Callable[[RecordT], float] | None = None,
    amount_unit: str = "frame",
    outcome_of: Callable[[RecordT, list[OutputT | Rejected]], object] | None = None,
) -> StageSummary:
    """Run the stage over all records in parallel, and give each one's results to `on_result` as soon as they are there.

    Args:
        factory: builds the stage, once in every worker.
        name: of the stage, in progress and summary line.
        key_of: names a record.
        on_result: called here, one call a record, in no particular order.
        num_workers: at most so many; `MGGTALK_WORKERS` by default, else as many as Ray has CPUs.
        wants_gpu: the workers share the GPUs that Ray has, if any; else they see none.
        unit: of records. amount_of, amount_unit: the work in a record, which gives the speed; large ones go first.
        outcome_of: what a record counts as in the summary, where an output may say that nothing is left; by default the
            outputs, or the rejection.

    Raises:
        MggtalkError: a worker raised it.
        StageBugError: the stage raised anything else, or made neither an output nor a rejection of a record.
        StageError: workers died again and again.
    """
    started = time.monotonic()
    kept = num_outputs = 0
    rejected: Counter[RejectReason] = Counter()
    amounts = [amount_of(record) for record in records] if amount_of else [1.0] * len(records)
    order = sorted(range(len(records)), key=lambda index: -amounts[index])  # a long one that starts last is waited for
    with Progress(name, len(records), unit) as progress:
        for index, results in _results_on_ray(factory, records, order, name, key_of, num_workers, wants_gpu=wants_gpu):
            record = records[index]
            outputs, reasons = _sort_out(results, f"{name}: record {key_of(record)!r}")
            on_result(record, results)
            if outcome_of is not None and isinstance(counted := outcome_of(record, results), Rejected):
                outputs, reasons = 0, [counted.reason]
            kept += bool(outputs)
            num_outputs += outputs
            rejected.update(reasons)
            progress.advance()
    seconds = time.monotonic() - started
    summary = StageSummary(name, kept, num_outputs, rejected, sum(amounts), amount_unit if amount_of else unit, seconds)
    if records:
        _logger.info("%s", summary)
    return summary


def _sort_out(results: list[Any], where: str) -> tuple[int, list[RejectReason]]:
    """Return the number of outputs, and the reason of the rejection if that is what the record became."""
    reasons = [result.reason for result in results if isinstance(result, Rejected)]
    outputs = len(results) - len(reasons)
    if outputs == 0 and len(reasons) != 1:
        raise StageBugError(f"{where}: expected outputs or one rejection, got {len(reasons)} rejections and no output")
    return outputs, reasons if outputs == 0 else []


def gpu_fraction(num_gpus: float, num_workers: int) -> float:
    """Return how much of a GPU each worker gets, so that all fit and none spans two; 0 where there is none."""
    if num_gpus < 1:
        return 0.0
    return 1.0 / -(-num_workers // int(num_gpus))


class _Worker(Generic[RecordT, OutputT]):
    """The stage in an actor. Exceptions leave it as data, because Ray would retry what raises."""

    def __init__(self, factory: Callable[[], Stage[RecordT, OutputT]], key_of: Callable[[RecordT], str]) -> None:
        self._key_of = key_of
        self._stage: Stage[RecordT, OutputT] | Failure
        try:
            self._stage = factory()
        except Exception as exception:
            self._stage = Failure.of(exception, "while the stage was built")

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        stage = self._stage
        record = pickle.loads(row["pickled"])  # noqa: S301  made by `_results_on_ray`, in this run
        results = stage if isinstance(stage, Failure) else attempt(stage, record, self._key_of)
        return {"index": row["index"], "pickled": pickle.dumps(results, pickle.HIGHEST_PROTOCOL)}


def _results_on_ray(
    factory: Callable[[], Stage[RecordT, OutputT]],
    records: Sequence[RecordT],
    order: Sequence[int],
    name: str,
    key_of: Callable[[RecordT], str],
    num_workers: int | None,
    *,
    wants_gpu: bool,
) -> Iterator[tuple[int, list[OutputT | Rejected]]]:
    """Yield the index of each record and what became of it, first done first."""
    if not records:
        return  # no need to start Ray
    with ray_session():
        import ray.data  # noqa: PLC0415  reads its environment when it is imported
        from ray.util.annotations import RayDeprecationWarning  # noqa: PLC0415  likewise

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False  # ours counts records, theirs blocks and operators
        context.execution_options.preserve_order = False
        size = min(num_workers or requested_workers() or int(ray.cluster_resources()["CPU"]), len(records))
        rows = [{"index": index, "pickled": pickle.dumps(records[index], pickle.HIGHEST_PROTOCOL)} for index in order]
        with warnings.catch_warnings(action="ignore", category=RayDeprecationWarning):
            # The limit of restarts is a keyword on its way out that has no successor; Ray's default is no limit.
            dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
                cast("Callable[[dict[str, Any]], dict[str, Any]]", _Worker),  # Ray's types know no callable classes
                fn_constructor_args=(factory, key_of),
                # A task in the queue of a busy actor could not move to an idle one, so none waits there.
                compute=ray.data.ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=1),
                num_cpus=1,
                num_gpus=gpu_fraction(ray.cluster_resources().get("GPU", 0.0), size) if wants_gpu else 0,
                max_restarts=_MAX_RESTARTS,
                max_task_retries=_MAX_RESTARTS,
            )
        try:
            for batch in dataset.iter_batches(batch_size=None, prefetch_batches=0, batch_format="pyarrow"):
                for index, pickled in zip(batch["index"], batch["pickled"], strict=True):
                    results = pickle.loads(pickled.as_buffer())  # noqa: S301  made by `_Worker`, in this run
                    if isinstance(results, Failure):
                        results.reraise()
                    yield index.as_py(), results
        except ray.exceptions.RayError as cause:
            raise StageError(f"{name}: a worker died {_MAX_RESTARTS + 1} times: {_first_line(cause)}") from cause


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
