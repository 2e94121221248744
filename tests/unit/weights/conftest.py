from pathlib import Path

import pytest

from tests.support.distributions import use_index


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test an empty cache of its own."""
    monkeypatch.setenv("MGGTALK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty folder as pip's only source of distributions."""
    folder = tmp_path / "index"
    folder.mkdir()
    use_index(monkeypatch, folder)
    return folder
