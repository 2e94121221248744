import os
import stat
from pathlib import Path

import pytest

from mggtalk.files import atomic_write, prune
from mggtalk.result_cache import ResultCache


def test_what_is_written_is_there_whole_and_readable_by_others(tmp_path):
    path = tmp_path / "new" / "file.bin"
    atomic_write(path, b"first")
    atomic_write(path, b"second")
    assert path.read_bytes() == b"second"
    assert names_in(path.parent) == ["file.bin"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_failed_write_keeps_the_old_content_and_leaves_no_part(tmp_path, monkeypatch):
    path = tmp_path / "file.bin"
    atomic_write(path, b"old")
    monkeypatch.setattr(os, "fsync", _disk_full)
    with pytest.raises(OSError, match="disk full"):
        atomic_write(path, b"new")
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["file.bin"]


def test_prune_keeps_what_is_named_and_reports_the_rest(tmp_path):
    for name in ("keep.bin", "stale.bin", ".partial-x"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inside").write_bytes(b"")
    assert prune(tmp_path, {"keep.bin"}) == [".partial-x", "folder", "stale.bin"]
    assert names_in(tmp_path) == ["keep.bin"]
    assert prune(tmp_path / "not there", set()) == []


def test_finished_results_are_skipped_and_stale_ones_go(tmp_path):
    results = ResultCache(tmp_path, ".bin")
    results.write("b", b"done")
    results.write("old", b"stale")
    assert results.unfinished(["a", "b", "c"], key_of=str) == ["a", "c"]
    assert results.prune(["a", "b", "c"]) == ["old.bin"]
    assert results.path("b").read_bytes() == b"done"


def names_in(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def _disk_full(_: int) -> None:
    raise OSError("disk full")
