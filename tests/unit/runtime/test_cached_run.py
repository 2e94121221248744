"""A cached stage makes what is missing, keeps what is final, and hands everything on; run here without Ray."""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mggtalk.files import atomic_write
from mggtalk.records import Rejected, RejectReason
from mggtalk.result_cache import ResultCache
from mggtalk.runtime import cached_run
from mggtalk.runtime.cached_run import run_cached
from mggtalk.stages.cached_stage import CachedStage, FileStore


@dataclass(frozen=True, eq=False)
class Number:
    """A record; several may have one name."""

    name: str
    value: int


class Halve:
    """Halves a number; an odd one is rejected, one below 0 for a reason that the machine may have."""

    def __call__(self, record: Number) -> Iterator[int | Rejected]:
        if record.value % 2 == 0:
            yield record.value // 2
        else:
            yield Rejected(record.name, RejectReason.CRASHED if record.value < 0 else RejectReason.TOO_SHORT)


class Halves(CachedStage[Number, int, Path]):
    """Writes each half to a file of its own."""

    name = "halves"
    record_name = "name"

    def __init__(self, folder: Path, *numbers: Number) -> None:
        self.records = numbers
        self.results: Mapping[Number, Path | Rejected] = {}
        keys = {number: str(number.value) for number in numbers}
        self.store: FileStore[Number, int] = FileStore(ResultCache(folder, ".txt"), keys, write_half)

    def worker(self) -> Callable[[], Halve]:
        return Halve

    def deadline(self) -> Callable[[Number], float]:
        return float_of_value

    def amount_of(self, record: Number) -> float:
        return record.value

    def prune(self) -> None:
        self.store.prune()

    def describe_finished(self, finished: Collection[Number]) -> str:
        return f"{len(finished)} of {len(self.records)} numbers"

    def assemble(self, results: Mapping[Number, Path | Rejected]) -> None:
        self.results = results


def float_of_value(number: Number) -> float:
    return float(number.value)


def write_half(path: Path, _: Number, outputs: Sequence[int | Rejected]) -> None:
    atomic_write(path, repr(outputs[0]).encode())


@pytest.fixture
def done(monkeypatch) -> list[int]:
    """The values of the numbers that were worked on, in this process."""
    values: list[int] = []

    def run_here(_: object, records: Sequence[Number], *, on_result: Callable[..., None], **__: Any) -> None:
        for record in records:
            values.append(record.value)
            on_result(record, list(Halve()(record)))

    monkeypatch.setattr(cached_run, "run_stage", run_here)
    return values


def test_what_is_finished_is_not_made_again_and_all_results_come_together(tmp_path, done, caplog):
    first, second = Number("a", 2), Number("b", 4)
    run_cached(Halves(tmp_path, first))
    stage = Halves(tmp_path, first, second)
    with caplog.at_level(logging.INFO):
        run_cached(stage)
    assert done == [2, 4]
    assert stage.results == {first: tmp_path / "2.txt", second: tmp_path / "4.txt"}
    assert "halves: 1 of 2 numbers were finished before" in caplog.text


def test_records_of_one_name_are_told_apart(tmp_path, done):
    """The parts of a long video have one name, as far as their faces go."""
    first, second = Number("same", 2), Number("same", 4)
    run_cached(Halves(tmp_path, first))
    stage = Halves(tmp_path, first, second)
    run_cached(stage)
    assert done == [2, 4]
    assert set(stage.results) == {first, second}


def test_a_rejection_is_kept_unless_the_machine_may_be_the_reason(tmp_path, done, caplog):
    numbers = Number("odd", 3), Number("below", -3)
    for _ in range(2):
        stage = Halves(tmp_path, *numbers)
        run_cached(stage)
    assert done == [3, -3, -3]
    assert stage.results[numbers[0]] == tmp_path / "3.txt"
    assert stage.results[numbers[1]] == Rejected("below", RejectReason.CRASHED)
    assert "halves: below: CRASHED: ; the next run tries again" in caplog.text


def test_results_of_other_records_are_pruned_when_the_stage_runs_and_not_before(tmp_path, done):
    run_cached(Halves(tmp_path, Number("a", 2)))
    stage = Halves(tmp_path, Number("b", 4))
    assert (tmp_path / "2.txt").is_file()
    run_cached(stage)
    assert [path.name for path in tmp_path.iterdir()] == ["4.txt"]
