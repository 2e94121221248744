"""The cache of pages: bounded, whole, shared by processes, and never a reason to fail."""

import os
from pathlib import Path

from mggtalk.shards.storage.page_cache import PageCache


def keys_in(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*/*")}


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*/*"))


def age(folder: Path, key: str, seconds: int) -> None:
    path = folder / key[:2] / key
    os.utime(path, (path.stat().st_atime - seconds, path.stat().st_mtime - seconds))


def test_what_was_written_is_read_by_ranges(tmp_path):
    cache = PageCache(tmp_path / "pages", 100)
    assert cache.read("aa1", 0, 5) is None
    cache.write("aa1", b"0123456789")
    assert cache.read("aa1", 2, 3) == b"234"
    assert cache.read("aa1", 8, 5) == b"89"
    assert PageCache(tmp_path / "pages", 100).read("aa1", 0, 10) == b"0123456789"


def test_what_was_used_least_recently_goes_first(tmp_path):
    cache = PageCache(tmp_path, 100)
    for seconds, key in ((30, "aa1"), (20, "bb2"), (10, "cc3")):
        cache.write(key, bytes(30))
        age(tmp_path, key, seconds)
    assert cache.read("aa1", 0, 1) == b"\0"
    cache.write("dd4", bytes(30))
    assert keys_in(tmp_path) == {"aa1", "cc3", "dd4"}


def test_a_page_larger_than_the_limit_is_not_kept_and_pushes_nothing_out(tmp_path):
    cache = PageCache(tmp_path, 100)
    cache.write("aa1", bytes(50))
    cache.write("bb2", bytes(101))
    assert keys_in(tmp_path) == {"aa1"}


def test_a_folder_that_cannot_be_written_to_costs_the_pages_only(tmp_path, caplog):
    (tmp_path / "file").write_bytes(b"in the way")
    cache = PageCache(tmp_path / "file", 100)
    cache.write("aa1", b"page")
    cache.write("bb2", b"page")
    assert cache.read("aa1", 0, 4) is None
    assert caplog.text.count("pages are not kept") == 1


def test_a_write_that_fails_leaves_nothing(tmp_path):
    (tmp_path / "aa" / "aa1").mkdir(parents=True)  # in the way of the rename
    PageCache(tmp_path, 100).write("aa1", b"page")
    assert keys_in(tmp_path) == {"aa1"}
