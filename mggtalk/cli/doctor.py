"""`mggtalk doctor`: what is there to run on, and how to mend what is not."""

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from mggtalk.cli import checks, probes
from mggtalk.cli.checks import Check, Level
from mggtalk.errors import MggtalkError
from mggtalk.weights.table import MODELS, status

# torch is not among them: a GPU host may bring a build of its own.
_PINNED_PACKAGES = ("ray", "dvc", "gsplat", "mediapipe", "av", "pyarrow", "webdataset")
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - not a place for files of ours: it is measured


def diagnose(root: Path, artifacts: Path) -> None:
    """Print the table of all checks of the project in `root`.

    Raises:
        MggtalkError: a check failed.
    """
    report(examine(root, artifacts))


def report(results: Sequence[Check]) -> None:
    """Print one line a check, with its remedy below where there is one.

    Raises:
        MggtalkError: a check failed; the message names those that did.
    """
    width = max(len(check.name) for check in results)
    for check in results:
        print(f"{check.level:4}  {check.name:{width}}  {check.found}")
        if check.remedy:
            print(f"{'':{width + 8}}-> {check.remedy}")
    failed = [check.name for check in results if check.level is Level.FAIL]
    if failed:
        raise MggtalkError(f"{len(failed)} of {len(results)} checks failed: {', '.join(failed)}")


def examine(root: Path, artifacts: Path) -> list[Check]:
    """Look at the machine and return every check."""
    return [
        checks.check_python(sys.version_info[:3]),
        checks.check_pip(probes.installed_version("pip")),
        *_check_native_code(),
        *_check_packages(root / "constraints.txt"),
        checks.check_dvc_repository(root, initialised=(root / ".dvc").is_dir()),
        checks.check_dvc_analytics(enabled=probes.dvc_analytics_enabled(probes.dvc_config_files(root))),
        checks.check_git(*probes.git_state(root)),
        *(checks.check_model(model, status(name)) for name, model in MODELS.items()),
        checks.check_disk(artifacts, probes.disk_usage(artifacts)[1]),
        checks.check_shared_memory(*(probes.disk_usage(_SHARED_MEMORY) if _SHARED_MEMORY.is_dir() else (None, 0))),
    ]


def _check_native_code() -> list[Check]:
    codes = {"gsplat": "import gsplat", **_native_packages()}
    with ThreadPoolExecutor(max_workers=2) as pool:
        torch = pool.submit(probes.torch_build)
        runs = pool.map(probes.run_python, codes.values())
        bar = tqdm(zip(codes, runs, strict=True), desc="loading packages", total=len(codes), leave=False, disable=None)
        errors = {name: error for name, (_, error) in bar}
    build, torch_error = torch.result()
    gsplat_error = errors.pop("gsplat")
    return [
        checks.check_torch(build, torch_error),
        checks.check_gsplat(gsplat_error, build),
        *(checks.check_native(name, error) for name, error in errors.items()),
    ]


def _native_packages() -> dict[str, str]:
    """Return distribution -> code that loads its native libraries."""
    return {"mediapipe": probes.MEDIAPIPE, "opencv-contrib-python": "import cv2", "av": "import av"}


def _check_packages(constraints: Path) -> list[Check]:
    pinned = checks.pinned_versions(constraints.read_text(encoding="utf-8")) if constraints.is_file() else {}
    return [checks.check_package(name, probes.installed_version(name), pinned.get(name)) for name in _PINNED_PACKAGES]
