from pathlib import Path

import pytest

from tests.support.distributions import use_index


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own."""
    monkeypatch.setenv("MGGTALK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which pip looks for distributions, and nowhere else."""
    folder = tmp_path / "index"
    folder.mkdir()
    use_index(monkeypatch, folder)
    return folder
