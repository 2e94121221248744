import os
from pathlib import Path

import pytest

from mggtalk.cli import probes


def test_code_that_runs_gives_its_output() -> None:
    assert probes.run_python("print(1 + 1)") == ("2\n", "")


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("import ctypes; ctypes.CDLL('libEGL.so.77')", "OSError: libEGL.so.77: cannot open shared object file"),
        ("import os; os.kill(os.getpid(), 11)", "ended by signal 11"),
        ("import os; os._exit(3)", "it said nothing"),
    ],
)
def test_code_that_fails_or_crashes_gives_the_reason(code: str, error: str) -> None:
    output, reason = probes.run_python(code)
    assert output == ""
    assert reason.startswith(error)


def test_code_that_hangs_is_ended() -> None:
    assert probes.run_python("import time; time.sleep(60)", timeout_s=0.2) == ("", "no end after 0.2 s")


def test_versions_come_from_the_installed_metadata() -> None:
    assert probes.installed_version("pytest") == pytest.__version__
    assert probes.installed_version("no-such-distribution") is None


@pytest.fixture
def config_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.delenv("DVC_NO_ANALYTICS", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    files = probes.dvc_config_files(tmp_path)
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
    return files


def test_dvc_analytics_are_on_unless_a_config_says_no(config_files: list[Path]) -> None:
    assert probes.dvc_analytics_enabled(config_files)
    config_files[-1].write_text("[core]\n    analytics = false\n")
    assert not probes.dvc_analytics_enabled(config_files)


def test_the_config_of_the_project_wins_over_that_of_the_user(config_files: list[Path]) -> None:
    _, project, user = config_files
    user.write_text("[core]\n    analytics = false\n")
    project.write_text(
        "[core]\n    autostage = true\n    analytics = true\n['remote \"lab\"']\n    url = s3://lab/%d\n"
    )
    assert probes.dvc_analytics_enabled(config_files)


def test_the_environment_can_turn_dvc_analytics_off(config_files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    assert not probes.dvc_analytics_enabled(config_files)


def test_the_disk_of_a_folder_that_is_yet_to_come_is_that_of_its_parent(tmp_path: Path) -> None:
    total, free = probes.disk_usage(tmp_path / "a" / "b")
    stats = os.statvfs(tmp_path)
    assert total == stats.f_blocks * stats.f_frsize
    assert 0 < free <= total


def test_git_is_asked_about_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    git = tmp_path / "bin" / "git"
    git.write_text('#!/bin/sh\n[ "$1" = --version ] && echo git version 9.8.7 && exit\n[ "$2" = /inside ]\n')
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    assert probes.git_state(Path("/inside")) == (None, False)  # not executable yet
    git.chmod(0o755)
    assert probes.git_state(Path("/inside")) == ("9.8.7", True)
    assert probes.git_state(Path("/outside")) == ("9.8.7", False)
