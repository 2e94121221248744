"""The checks of `mggtalk doctor`: each takes what was found on the machine and says whether it will do.

They look at nothing themselves (`probes` does), so a test can hand them any machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from mggtalk.weights.table import Model, ModelStatus

_GIB = 1 << 30
_SYSTEM_PACKAGES = {  # library that a native wheel asks the system for -> Debian and Ubuntu package
    "libGL.so": "libgl1",
    "libEGL.so": "libegl1",
    "libGLESv2.so": "libgles2",
    "libglib-2.0.so": "libglib2.0-0",
    "libgthread-2.0.so": "libglib2.0-0",
    "libxcb.so": "libxcb1",
}


class Level(StrEnum):
    """How a check came out; a note is a fact that needs no mending, and only failures make `doctor` fail."""

    OK = "ok"
    NOTE = "note"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table: what was looked at, what was found, and the command that mends it."""

    name: str
    level: Level
    found: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class TorchBuild:
    """The torch that is installed: its version, the CUDA devices that it sees, and the CUDA toolkit, if any."""

    version: str
    devices: tuple[str, ...]
    cuda_home: str | None


def check_python(version: tuple[int, int, int]) -> Check:
    """Python is one that the pinned packages have wheels for."""
    found = ".".join(map(str, version))
    if version[:2] in {(3, 11), (3, 12)}:
        return Check("python", Level.OK, found)
    return Check("python", Level.FAIL, f"{found}, expected 3.11 or 3.12", "python3.11 -m venv .venv")


def check_pip(version: str | None) -> Check:
    """Pip is there: models and sample videos are downloaded with it."""
    if version:
        return Check("pip", Level.OK, version)
    return Check("pip", Level.WARN, "none: models cannot be fetched", "python -m ensurepip")


def check_torch(build: TorchBuild | None, error: str) -> Check:
    """Torch can be imported; CUDA is welcome."""
    if build is None:
        return Check("torch", Level.FAIL, f"cannot be imported: {error}", _pip_install("torch"))
    if build.devices:
        return Check("torch", Level.OK, f"{build.version}, {', '.join(build.devices)}")
    return Check("torch", Level.NOTE, f"{build.version}, CPU only: it sees no CUDA device")


def check_gsplat(error: str, build: TorchBuild | None) -> Check:
    """Gsplat can be imported and, where there is CUDA, can compile its kernels."""
    if error:
        return Check("rasteriser", Level.FAIL, f"gsplat cannot be imported: {error}", _pip_install("gsplat"))
    if build is None or not build.devices:
        return Check("rasteriser", Level.NOTE, "plain torch: gsplat needs CUDA")
    if build.cuda_home is None:
        found = "gsplat, but no CUDA toolkit to compile its kernels with"
        return Check("rasteriser", Level.WARN, found, "install nvcc and `export CUDA_HOME=/usr/local/cuda`")
    return Check("rasteriser", Level.OK, f"gsplat, compiles at first use (about 90 s) with {build.cuda_home}")


def check_package(name: str, installed: str | None, pinned: str | None) -> Check:
    """A package is installed, in the version that constraints.txt pins if it pins one."""
    if installed is None:
        return Check(name, Level.FAIL, "not installed", _pip_install(name))
    if pinned is None or installed.partition("+")[0] == pinned:
        return Check(name, Level.OK, installed)
    return Check(name, Level.WARN, f"{installed}, constraints.txt pins {pinned}", _pip_install(f"{name}=={pinned}"))


def check_native(name: str, error: str) -> Check:
    """A package with native code loads, and finds the system libraries that it asks for."""
    if not error:
        return Check(f"{name} loads", Level.OK, "yes")
    packages = sorted({package for library, package in _SYSTEM_PACKAGES.items() if library in error})
    remedy = f"apt-get install -y {' '.join(packages)}" if packages else f"pip install --force-reinstall {name}"
    return Check(f"{name} loads", Level.FAIL, f"no: {error}", remedy)


def check_dvc_repository(root: Path, *, initialised: bool) -> Check:
    """The folder is a DVC repository."""
    if initialised:
        return Check("dvc repository", Level.OK, str(root))
    return Check("dvc repository", Level.WARN, f"none in {root}", "cd to the project, or run `dvc init` there")


def check_dvc_analytics(*, enabled: bool) -> Check:
    """DVC sends no usage reports."""
    if not enabled:
        return Check("dvc analytics", Level.OK, "off")
    return Check(
        "dvc analytics", Level.WARN, "on: each command reports to its makers", "dvc config core.analytics false"
    )


def check_model(model: Model, state: ModelStatus) -> Check:
    """A model that the default pipeline needs is in the cache, whole; an optional one may be missing."""
    name = f"model {model.name}"
    if state is ModelStatus.PRESENT:
        return Check(name, Level.OK, str(model.path))
    remedy = f"mggtalk models fetch {model.name}"
    if state is ModelStatus.MISSING and not model.default:
        return Check(name, Level.NOTE, f"optional, missing: {model.purpose}", remedy)
    return Check(name, Level.FAIL, f"{state}: {model.path}", remedy)


def check_disk(folder: Path, free_bytes: int) -> Check:
    """There is room for artifacts."""
    found = f"{free_bytes / _GIB:.1f} GiB free at {folder}"
    remedy = "`du -sh artifacts .dvc/cache` shows what takes it; `dvc gc --workspace` frees old results"
    if free_bytes < _GIB:
        return Check("disk", Level.FAIL, found, remedy)
    if free_bytes < 10 * _GIB:
        return Check("disk", Level.WARN, found, remedy)
    return Check("disk", Level.OK, found)


def check_shared_memory(size_bytes: int | None, free_bytes: int) -> Check:
    """Ray's object store fits into /dev/shm; where it does not, Ray puts it on disk, which is slow."""
    remedy = "mount -o remount,size=4g /dev/shm (in a container: `docker run --shm-size=4g`)"
    if size_bytes is None:
        return Check("shared memory", Level.WARN, "no /dev/shm", remedy)
    found = f"{free_bytes / _GIB:.1f} of {size_bytes / _GIB:.1f} GiB free in /dev/shm"
    if free_bytes < 2 * _GIB:
        return Check("shared memory", Level.WARN, f"{found}, Ray wants 2", remedy)
    return Check("shared memory", Level.OK, found)


def check_git(version: str | None, in_repository: bool) -> Check:
    """Git is there, and the folder is a git repository: DVC follows it."""
    if version is None:
        return Check("git", Level.WARN, "not installed", "apt-get install -y git")
    if not in_repository:
        return Check("git", Level.WARN, f"{version}, but this folder is in no repository", "git init")
    return Check("git", Level.OK, version)


def pinned_versions(constraints: str) -> Mapping[str, str]:
    """Return name -> version of the lines `name==version` of a constraints file."""
    lines = [line.partition("#")[0].partition(";")[0] for line in constraints.splitlines()]
    pins = (line.split("==") for line in lines if line.count("==") == 1)
    return {name.strip().lower().replace("_", "-"): version.strip() for name, version in pins}


def _pip_install(requirement: str) -> str:
    return f"pip install -c constraints.txt {requirement}"
