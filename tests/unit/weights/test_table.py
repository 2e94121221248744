import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from mggtalk.errors import WeightsError
from mggtalk.weights.sources import DistributionMember, ModelFile, ModelSource
from mggtalk.weights.table import MODELS, ModelStatus, fetch, model_hash, require, status
from tests.support.distributions import sha256

WEIGHTS = b"weights"
FILES = [model for model in MODELS.values() if isinstance(model, ModelFile)]


class Broken:
    """A source that has nothing."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def fetch(self, model: ModelFile) -> None:
        raise WeightsError(self.reason)

    def __str__(self) -> str:
        return f"source of {self.reason}"


class Working:
    """A source that has the file; it counts how often it was asked."""

    calls = 0

    def fetch(self, model: ModelFile) -> None:
        self.calls += 1
        model.path.parent.mkdir(parents=True, exist_ok=True)
        model.path.write_bytes(WEIGHTS)


def _table(*sources: ModelSource) -> Mapping[str, ModelFile]:
    model = ModelFile("ear", "ear.bin", sha256(WEIGHTS), len(WEIGHTS), "MIT", "hears", default=True, sources=sources)
    return {"ear": model}


def test_require_returns_the_path_of_the_right_file(cache: Path) -> None:
    models = _table(Working())
    fetch("ear", models)
    assert require("ear", models) == cache / "models" / "ear.bin"


def test_require_says_how_to_get_a_missing_file_and_does_not_get_it(cache: Path) -> None:
    source = Working()
    with pytest.raises(WeightsError, match=f"{cache}/models/ear.bin; run `mggtalk models fetch ear`"):
        require("ear", _table(source))
    assert source.calls == 0
    assert not cache.exists()


def test_require_refuses_a_damaged_file_with_both_hashes(cache: Path) -> None:
    models = _table(Working())
    fetch("ear", models).write_bytes(b"damaged")
    message = (
        f"{cache}/models/ear.bin has SHA-256 {sha256(b'damaged')}, expected {sha256(WEIGHTS)}; "
        "run `mggtalk models fetch ear`"
    )
    with pytest.raises(WeightsError, match=re.escape(message)):
        require("ear", models)


def test_a_file_of_which_only_the_first_digits_of_the_hash_are_known_is_checked_by_them(cache: Path) -> None:
    def table(digits: str) -> Mapping[str, ModelFile]:
        name = f"hub/ear-{digits}.pth"
        return {
            "ear": ModelFile("ear", name, digits, len(WEIGHTS), "MIT", "hears", default=False, sources=(Working(),))
        }

    right, wrong = table(sha256(WEIGHTS)[:10]), table("0123456789")
    assert fetch("ear", right) == require("ear", right) == cache / "models" / "hub" / right["ear"].path.name
    assert status("ear", right) is ModelStatus.PRESENT
    assert model_hash("ear", right) == sha256(WEIGHTS)[:10]
    fetch("ear", wrong)
    assert status("ear", wrong) is ModelStatus.DAMAGED
    with pytest.raises(WeightsError, match=f"has SHA-256 {sha256(WEIGHTS)}, expected 0123456789;"):
        require("ear", wrong)


def test_status_tells_missing_present_and_damaged() -> None:
    models = _table(Working())
    assert status("ear", models) is ModelStatus.MISSING
    path = fetch("ear", models)
    assert status("ear", models) is ModelStatus.PRESENT
    path.write_bytes(b"damaged")
    assert status("ear", models) is ModelStatus.DAMAGED


def test_fetch_downloads_once_and_again_when_damaged() -> None:
    source = Working()
    models = _table(source)
    fetch("ear", models)
    path = fetch("ear", models)
    assert source.calls == 1
    path.write_bytes(b"damaged")
    assert fetch("ear", models).read_bytes() == WEIGHTS
    assert source.calls == 2


def test_fetch_asks_the_next_source_when_one_fails() -> None:
    unused = Working()
    assert fetch("ear", _table(Broken("rain"), Working(), unused)).read_bytes() == WEIGHTS
    assert unused.calls == 0


def test_fetch_lists_every_source_and_why_it_failed() -> None:
    with pytest.raises(WeightsError, match=r"'ear': .*source of rain \(rain\); source of wind \(wind\)"):
        fetch("ear", _table(Broken("rain"), Broken("wind")))


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    for ask in (fetch, require, status, model_hash):
        with pytest.raises(WeightsError, match=r"no model 'eye'; known models: ear"):
            ask("eye", _table())


def test_the_table_names_every_file_once_with_its_hash() -> None:
    assert [name for name, model in MODELS.items() if model.default] == [
        "face_landmarker",
        "selfie_segmentation",
        "face_detection_full_range",
        "palm_detection",
        "hand_landmark",
    ]
    assert model_hash("face_landmarker").startswith("64184e22")
    for field in ("file_name", "sha256"):
        assert len({getattr(model, field) for model in FILES}) == len(FILES)
    for model in FILES:
        # No more is known of files that carry the first digits of their hash in their name, as torch.hub has it.
        assert re.fullmatch("[0-9a-f]{64}", model.sha256) or f"-{model.sha256}." in model.file_name
        assert len(model.sha256) >= 10


def test_every_source_of_the_table_is_pinned() -> None:
    sources = [source for model in FILES for source in model.sources]
    members = [source for source in sources if isinstance(source, DistributionMember)]
    assert len(members) == 6
    for member in members:
        assert re.fullmatch(r"[a-z-]+==[0-9.]+", member.requirement)
        assert re.fullmatch("[0-9a-f]{64}", member.sha256)
