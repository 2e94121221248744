"""Every check of the doctor, on a machine where it is right and on machines where it is not."""

from pathlib import Path

import pytest

from mggtalk.cli import checks
from mggtalk.cli.checks import Check, Level, TorchBuild
from mggtalk.weights.table import MODELS, ModelStatus

GIB = 1 << 30
CPU_BUILD = TorchBuild("2.13.0+cpu", (), None)
CUDA_BUILD = TorchBuild("2.11.0", ("NVIDIA H100",), "/usr/local/cuda")
DEFAULT_MODEL = MODELS["face_landmarker"]
OPTIONAL_MODEL = MODELS["dlib_face_recognition"]
HUB_MODEL = MODELS["face_parsing"]
MISSING_LIBRARY = "ImportError: {}: cannot open shared object file: No such file or directory"


@pytest.mark.parametrize(
    ("check", "level", "found", "remedy"),
    [
        (checks.check_python((3, 11, 7)), Level.OK, "3.11.7", ""),
        (checks.check_python((3, 12, 0)), Level.OK, "3.12.0", ""),
        (checks.check_python((3, 10, 1)), Level.FAIL, "3.10.1, expected 3.11 or 3.12", "python3.11 -m venv"),
        (checks.check_python((3, 13, 0)), Level.FAIL, "3.13.0", "python3.11 -m venv"),
        (checks.check_pip("24.0"), Level.OK, "24.0", ""),
        (checks.check_pip(None), Level.WARN, "cannot be fetched", "python -m ensurepip"),
        (checks.check_torch(CPU_BUILD, ""), Level.NOTE, "CPU only", ""),
        (checks.check_torch(CUDA_BUILD, ""), Level.OK, "2.11.0, NVIDIA H100", ""),
        (checks.check_torch(None, "no module"), Level.FAIL, "no module", "pip install -c constraints.txt torch"),
        (checks.check_gsplat("", CUDA_BUILD), Level.OK, "/usr/local/cuda", ""),
        (checks.check_gsplat("", CPU_BUILD), Level.NOTE, "needs CUDA", ""),
        (checks.check_gsplat("", None), Level.NOTE, "needs CUDA", ""),
        (checks.check_gsplat("no module", CUDA_BUILD), Level.FAIL, "no module", "constraints.txt gsplat"),
        (checks.check_gsplat("", TorchBuild("2.11.0", ("H100",), None)), Level.WARN, "no CUDA toolkit", "CUDA_HOME="),
        (checks.check_package("ray", "2.60.0", "2.60.0"), Level.OK, "2.60.0", ""),
        (checks.check_package("ray", "2.60.0", None), Level.OK, "2.60.0", ""),
        (checks.check_package("torch", "2.13.0+cpu", "2.13.0"), Level.OK, "2.13.0+cpu", ""),
        (checks.check_package("ray", "2.61.0", "2.60.0"), Level.WARN, "2.61.0, constraints.txt pins", "ray==2.60.0"),
        (checks.check_package("ray", None, "2.60.0"), Level.FAIL, "not installed", "constraints.txt ray"),
        (checks.check_native("av", ""), Level.OK, "yes", ""),
        (checks.check_native("av", "ended by signal 11"), Level.FAIL, "signal 11", "--force-reinstall av"),
        (checks.check_dvc_repository(Path("/p"), initialised=True), Level.OK, "/p", ""),
        (checks.check_dvc_repository(Path("/p"), initialised=False), Level.WARN, "none in /p", "dvc init"),
        (checks.check_dvc_analytics(enabled=False), Level.OK, "off", ""),
        (checks.check_dvc_analytics(enabled=True), Level.WARN, "on", "dvc config core.analytics false"),
        (checks.check_model(DEFAULT_MODEL, ModelStatus.PRESENT), Level.OK, "face_landmarker.task", ""),
        (checks.check_model(DEFAULT_MODEL, ModelStatus.MISSING), Level.FAIL, "missing", "models fetch face_landmarker"),
        (checks.check_model(DEFAULT_MODEL, ModelStatus.DAMAGED), Level.FAIL, "damaged", "models fetch face_landmarker"),
        (checks.check_model(OPTIONAL_MODEL, ModelStatus.MISSING), Level.NOTE, "optional", "models fetch dlib"),
        (checks.check_model(OPTIONAL_MODEL, ModelStatus.DAMAGED), Level.FAIL, "damaged", "models fetch dlib"),
        (checks.check_model(HUB_MODEL, ModelStatus.MISSING), Level.NOTE, "optional", "models fetch face_parsing"),
        (checks.check_disk(Path("/a"), 20 * GIB), Level.OK, "20.0 GiB free at /a", ""),
        (checks.check_disk(Path("/a"), 5 * GIB), Level.WARN, "5.0 GiB", "dvc gc --workspace"),
        (checks.check_disk(Path("/a"), GIB // 2), Level.FAIL, "0.5 GiB", "dvc gc --workspace"),
        (checks.check_shared_memory(8 * GIB, 4 * GIB), Level.OK, "4.0 of 8.0 GiB", ""),
        (checks.check_shared_memory(GIB // 16, GIB // 16), Level.WARN, "0.1 of 0.1 GiB", "--shm-size=4g"),
        (checks.check_shared_memory(None, 0), Level.WARN, "no /dev/shm", "mount"),
        (checks.check_git("2.39.5", True), Level.OK, "2.39.5", ""),
        (checks.check_git("2.39.5", False), Level.WARN, "no repository", "git init"),
        (checks.check_git(None, False), Level.WARN, "not installed", "apt-get install -y git"),
    ],
)
def test_a_check_tells_good_from_bad_and_how_to_mend_it(check: Check, level: Level, found: str, remedy: str) -> None:
    assert check.level is level
    assert found in check.found
    assert (remedy in check.remedy) if remedy else not check.remedy


@pytest.mark.parametrize(
    ("library", "package"),
    [("libGL.so.1", "libgl1"), ("libEGL.so.1", "libegl1"), ("libGLESv2.so.2", "libgles2"), ("libxcb.so.1", "libxcb1")],
)
def test_a_missing_system_library_fails_with_the_package_that_has_it(library: str, package: str) -> None:
    check = checks.check_native("mediapipe", MISSING_LIBRARY.format(library))
    assert check.level is Level.FAIL
    assert library in check.found
    assert check.remedy == f"apt-get install -y {package}"


def test_pins_are_read_from_a_constraints_file() -> None:
    constraints = "# pins\nray==2.60.0\nPyYAML==6.0 # why\ndecord==0.6.0; platform_machine == 'x86_64'\nnumpy>=2\n\n"
    assert checks.pinned_versions(constraints) == {"ray": "2.60.0", "pyyaml": "6.0", "decord": "0.6.0"}
