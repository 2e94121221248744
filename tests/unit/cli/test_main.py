import errno
import hashlib
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mggtalk import __version__
from mggtalk.cli.checks import Check, Level
from mggtalk.cli.doctor import report
from mggtalk.cli.main import main
from mggtalk.cli.models import fetch_models
from mggtalk.errors import MggtalkError, WeightsError, run_main
from mggtalk.weights.sources import ModelFile
from mggtalk.weights.table import MODELS


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MGGTALK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def _root_log_level() -> Iterator[None]:
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)


class Writer:
    """A source that writes the same bytes for every model."""

    def fetch(self, model: ModelFile) -> None:
        model.path.parent.mkdir(parents=True, exist_ok=True)
        model.path.write_bytes(b"weights")


def _model(name: str, *, default: bool) -> ModelFile:
    sha256 = hashlib.sha256(b"weights").hexdigest()
    return ModelFile(name, f"{name}.bin", sha256, 7, "MIT", "hears", default, sources=(Writer(),))


MODEL_TABLE = {name: _model(name, default=name != "extra") for name in ("ear", "eye", "extra")}


def test_a_full_disk_is_the_users_to_mend_and_other_faults_of_the_system_are_not(capsys):
    full = OSError(errno.ENOSPC, "No space left on device", "artifacts/shards/all.tar")
    assert run_main(_raise(full)) == 2
    assert "No space left on device: 'artifacts/shards/all.tar'; what is finished is kept" in capsys.readouterr().err
    with pytest.raises(OSError, match="Input/output"):
        run_main(_raise(OSError(errno.EIO, "Input/output error")))


def _raise(error: BaseException) -> Callable[[], None]:
    def function() -> None:
        raise error

    return function


def test_a_command_that_ends_well_gives_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(lambda: None) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("error", [MggtalkError("no such thing"), WeightsError("no such thing")])
def test_an_error_of_the_user_gives_2_and_one_line(error: MggtalkError, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(_raise(error)) == 2
    assert capsys.readouterr() == ("", "error: no such thing\n")


def test_ctrl_c_gives_130() -> None:
    assert run_main(_raise(KeyboardInterrupt())) == 130


def test_a_bug_keeps_its_stack_trace() -> None:
    with pytest.raises(ZeroDivisionError):
        run_main(_raise(ZeroDivisionError()))


@pytest.mark.parametrize(
    ("names", "fetch_all", "fetched"),
    [([], False, ["ear", "eye"]), (["extra"], False, ["extra"]), ([], True, ["ear", "eye", "extra"])],
)
def test_fetch_takes_the_default_models_or_those_named_or_all(
    names: list[str], fetch_all: bool, fetched: list[str], cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch_models(names, fetch_all=fetch_all, models=MODEL_TABLE)
    printed = capsys.readouterr().out.splitlines()
    assert printed == [f"{name}: {cache}/models/{name}.bin" for name in fetched]
    assert sorted(path.stem for path in (cache / "models").iterdir()) == sorted(fetched)


def test_an_unknown_name_is_refused_before_anything_is_downloaded(cache: Path) -> None:
    with pytest.raises(WeightsError, match="no model 'nose'"):
        fetch_models(["ear", "nose"], fetch_all=False, models=MODEL_TABLE)
    assert not cache.exists()


def test_an_unknown_model_on_the_command_line_gives_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "fetch", "nose"]) == 2
    assert capsys.readouterr().err.startswith("error: no model 'nose'; known models: face_landmarker, ")


def test_list_tells_the_state_of_every_model(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (cache / "models").mkdir(parents=True)
    MODELS["selfie_segmentation"].path.write_bytes(b"damaged")
    assert main(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(MODELS)
    assert re.search(r"face_landmarker +missing +3\.8 MB +Apache-2\.0 +478 face landmarks", lines[0])
    assert re.search(r"selfie_segmentation +damaged +0\.2 MB", lines[1])
    assert re.search(r"dlib_face_recognition +missing +22\.5 MB +CC0-1\.0 .*, optional", "\n".join(lines))


def test_the_report_puts_the_remedy_below_and_passes_without_failures(capsys: pytest.CaptureFixture[str]) -> None:
    report([Check("python", Level.OK, "3.11.7"), Check("git", Level.WARN, "not installed", "apt-get install -y git")])
    assert capsys.readouterr().out.splitlines() == [
        "ok    python  3.11.7",
        "warn  git     not installed",
        "              -> apt-get install -y git",
    ]


def test_the_report_fails_and_names_what_failed() -> None:
    with pytest.raises(MggtalkError, match="1 of 2 checks failed: disk"):
        report([Check("python", Level.OK, "3.11.7"), Check("disk", Level.FAIL, "full", "rm -r artifacts")])


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"mggtalk {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["models"], ["nonsense"], ["doctor", "--nonsense"]])
def test_wrong_usage_gives_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
