"""Stages on a real local Ray: every record's results arrive, bugs and user errors surface as what they are."""

import re
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Any

import pytest

from mggtalk.errors import StageError, WeightsError
from mggtalk.records import Rejected, RejectReason
from mggtalk.runtime.failures import StageBugError
from mggtalk.runtime.isolation import Isolated, PickledFactory
from mggtalk.runtime.stage_runner import StageSummary, gpu_fraction, run_stage
from mggtalk.stages.cached_stage import describe_counts
from tests.integration.runtime.toy_stages import Job, MisbehavingStage, MissingModelStage, SquareStage

pytestmark = pytest.mark.usefixtures("local_ray")


def run(
    factory: Callable[[], Any], jobs: list[Job], **options: Any
) -> tuple[StageSummary, list[tuple[str, list[Any]]]]:
    arrived: list[tuple[str, list[Any]]] = []
    summary = run_stage(
        factory,
        jobs,
        name="toy",
        key_of=attrgetter("key"),
        on_result=lambda job, results: arrived.append((job.key, results)),
        **options,
    )
    return summary, arrived


def test_every_record_comes_back_once_whatever_the_number_of_workers():
    jobs = [Job(f"job-{number}", number=number) for number in range(-2, 5)]
    expected = {job.key: list(SquareStage()(job)) for job in jobs}
    for num_workers in (1, 2):
        summary, arrived = run(SquareStage, jobs, num_workers=num_workers)
        assert len(arrived) == len(jobs)
        assert dict(arrived) == expected
        assert (summary.kept, summary.num_outputs) == (5, 7)
        assert summary.rejected == Counter({RejectReason.NO_FACE: 2})


def test_results_arrive_when_they_are_done_not_in_order():
    _, arrived = run(SquareStage, [Job("slow"), Job("a"), Job("b"), Job("c")], num_workers=2)
    assert arrived[-1][0] == "slow"


def test_results_done_before_a_bug_were_handed_over_and_the_bug_names_its_record():
    arrived: list[str] = []
    with pytest.raises(StageBugError, match=r"on record 'bad': ZeroDivisionError") as caught:
        run_stage(
            MisbehavingStage,
            [Job("good", "pid", 2), Job("bad", "bug", 1)],
            name="toy",
            key_of=attrgetter("key"),
            on_result=lambda job, _: arrived.append(job.key),
            num_workers=1,
            amount_of=attrgetter("number"),
        )
    assert arrived == ["good"]  # the larger one goes first
    assert "_divide_by_nothing" in str(caught.value)


def test_an_error_of_the_user_while_building_keeps_its_type():
    with pytest.raises(WeightsError, match="models fetch"):
        run(MissingModelStage, [Job("a")])


def test_a_record_without_a_fate_is_a_bug():
    with pytest.raises(StageBugError, match=r"'a': expected outputs or one rejection"):
        run(MisbehavingStage, [Job("a", "nothing")])


def test_a_worker_that_always_dies_is_given_up():
    with pytest.raises(StageError, match="a worker died"):
        run(MisbehavingStage, [Job("a", "exit")])


def test_isolation_works_inside_a_worker():
    factory = partial(Isolated, PickledFactory(MisbehavingStage), attrgetter("key"), lambda _: 10.0, 400 << 20)
    summary, arrived = run(factory, [Job("crash", "segfault", 3), Job("fine", "pid", 1)], num_workers=1)
    assert summary.rejected == Counter({RejectReason.CRASHED: 1})
    assert isinstance(dict(arrived)["crash"][0], Rejected)
    assert summary.kept == 1


def test_a_hang_costs_its_deadline_and_the_rest_goes_on():
    factory = partial(Isolated, PickledFactory(MisbehavingStage), attrgetter("key"), lambda _: 600.0, 400 << 20, 2.0)
    jobs = [Job("hang", "hang with the GIL", 9), *(Job(f"fine-{number}", "pid") for number in range(6))]
    started = time.monotonic()
    summary, arrived = run(factory, jobs, num_workers=2)
    assert dict(arrived)["hang"] == [Rejected("hang", RejectReason.DECODE_TIMEOUT, "no sign of life for 2.0 s")]
    assert summary.kept == 6
    assert time.monotonic() - started < 60  # workers and processes start in it


def test_no_records_is_no_work():
    summary, arrived = run(MissingModelStage, [])
    assert (summary.kept, summary.rejected.total(), arrived) == (0, 0, [])


def test_results_of_several_runs_are_counted_as_in_a_summary():
    results = ["clip", "clip", Rejected("a", RejectReason.NO_FACE), Rejected("b", RejectReason.NO_FACE)]
    assert describe_counts("track in all", results) == "track in all: kept 2, rejected 2 (NO_FACE 2)"
    assert describe_counts("track in all", []) == "track in all: kept 0, rejected 0"


def test_the_summary_counts_adds_up_and_gives_the_speed():
    rejected = Counter({RejectReason.TOO_SHORT: 2, RejectReason.NO_FACE: 3})
    line = str(StageSummary("track", 12, 14, rejected, 443.0, "frame", 14.2))
    assert line == "track: kept 12, rejected 5 (NO_FACE 3, TOO_SHORT 2), 31.2 frames/s, 14.2 s"
    assert re.search(r"rejected 0, 0\.0 videos/s", str(StageSummary("track", 0, 0, Counter(), 0.0, "video", 0.0)))


@pytest.mark.parametrize(
    ("num_gpus", "num_workers", "share"), [(0, 4, 0), (1, 1, 1), (1, 3, 1 / 3), (2, 2, 1), (2, 3, 0.5), (8, 4, 1)]
)
def test_workers_share_the_gpus_and_none_spans_two(num_gpus, num_workers, share):
    assert gpu_fraction(num_gpus, num_workers) == pytest.approx(share)
    if share:
        assert num_gpus * int(1 / share + 1e-9) >= num_workers
