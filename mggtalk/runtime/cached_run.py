"""Runs a cached stage: finds finished results, makes the others on Ray in isolated processes, keeps each at once."""

import logging
from collections.abc import Callable, Hashable
from functools import partial
from operator import attrgetter
from typing import TypeVar

from mggtalk.records import Rejected, Stage
from mggtalk.runtime.isolation import Isolated, PickledFactory
from mggtalk.runtime.stage_runner import run_stage
from mggtalk.stages.cached_stage import CachedStage
from mggtalk.stages.limits import MEMORY_LIMIT_BYTES, STALL_S, is_retried
from mggtalk.stages.video_file_check import WithVideoFile

_logger = logging.getLogger(__name__)

RecordT = TypeVar("RecordT", bound=Hashable)
OutputT = TypeVar("OutputT")
ResultT = TypeVar("ResultT")


def run_cached(stage: CachedStage[RecordT, OutputT, ResultT]) -> None:
    """Make the results that are missing, then assemble all of them.

    Raises:
        MggtalkError: a worker raised it, or nothing was kept. StageBugError: a worker raised anything else.
    """
    results = make_missing(stage)
    stage.assemble(results)


def make_missing(stage: CachedStage[RecordT, OutputT, ResultT]) -> dict[RecordT, ResultT | Rejected]:
    """Make and store the results that are missing, and return the results of all records.

    Raises:
        MggtalkError: a worker raised it. StageBugError: a worker raised anything else.
    """
    name_of: Callable[[RecordT], str] = attrgetter(stage.record_name)
    stage.prune()
    results = {record: found for record in stage.records if (found := stage.store.find(record)) is not None}
    if results and (finished := stage.describe_finished(results)):
        _logger.info("%s: %s were finished before", stage.name, finished)

    def keep(record: RecordT, outputs: list[OutputT | Rejected]) -> None:
        first = outputs[0]
        if isinstance(first, Rejected) and is_retried(first, stage.name, stage.retried):
            results[record] = first
        else:
            results[record] = stage.store.keep(record, outputs)

    run_stage(
        _in_a_process(stage),
        [record for record in stage.records if record not in results],
        name=stage.name,
        key_of=name_of,
        on_result=keep,
        wants_gpu=stage.wants_gpu,
        unit=stage.unit,
        amount_of=stage.amount_of,
        amount_unit=stage.amount_unit,
        outcome_of=stage.outcome_of,
    )
    return results


def _in_a_process(stage: CachedStage[RecordT, OutputT, ResultT]) -> Callable[[], Stage[RecordT, OutputT]]:
    inner = isolated(stage.worker(), stage.record_name, stage.deadline(), stage.stall_s, stage.memory_limit_bytes)
    return inner if stage.video_of is None else partial(WithVideoFile, inner, stage.record_name, stage.video_of)


def isolated(
    factory: Callable[[], Stage[RecordT, OutputT]],
    key: str,
    deadline_s: Callable[[RecordT], float],
    stall_s: float = STALL_S,
    memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
) -> Callable[[], Isolated[RecordT, OutputT]]:
    """Return a factory of the stage in a process of its own, which alone loads its networks.

    Args:
        key: the attribute that names a record. deadline_s: seconds for a record.
        stall_s: see `Isolated`; infinity for a stage that gives no signs of life.
    """
    return partial(Isolated, PickledFactory(factory), attrgetter(key), deadline_s, memory_limit_bytes, stall_s)
