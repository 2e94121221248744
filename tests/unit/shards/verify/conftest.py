import shutil
from pathlib import Path

import pytest

from mggtalk.shards import SampleRow
from tests.support.verified_shards import make_clips, write_dataset


@pytest.fixture(scope="session")
def pristine(tmp_path_factory) -> tuple[Path, dict[str, SampleRow]]:
    root = tmp_path_factory.mktemp("pristine") / "shards"
    return root, write_dataset(root, make_clips())


@pytest.fixture
def dataset(pristine, tmp_path) -> tuple[Path, dict[str, SampleRow]]:
    """A copy that a test may damage."""
    root, rows = pristine
    return Path(shutil.copytree(root, tmp_path / "shards")), rows
