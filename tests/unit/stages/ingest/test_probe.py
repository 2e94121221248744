from collections.abc import Callable
from pathlib import Path

import pytest

from mggtalk.records import Rejected, RejectReason
from mggtalk.stages.ingest.probe import ProbeStage, look_up
from tests.support.media import write_video


def remove(path: Path) -> None:
    path.unlink()


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more")


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("deed", [remove, grow, replace_by_folder])
def test_a_file_that_changes_after_it_was_seen_is_missing(tmp_path: Path, deed: Callable[[Path], None]) -> None:
    path = write_video(tmp_path / "a.mp4", 5)
    file = look_up(str(path))
    assert not isinstance(file, Rejected)
    deed(path)
    (result,) = ProbeStage()(file)
    assert isinstance(result, Rejected)
    assert (result.key, result.reason) == (str(path), RejectReason.MISSING_FILE)
