"""Looks at the machine for `mggtalk doctor`.

What has native code is imported in a process of its own: a library that is missing, hangs or crashes is then an issue
and not the end of the doctor. Ray and DVC are only asked for their versions.
"""

import configparser
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from mggtalk.cli.checks import TorchBuild

_TIMEOUT_S = 120.0  # the first import of torch from a cold disk takes tens of seconds
_TORCH = """
import json, torch
try:
    from torch.utils.cpp_extension import CUDA_HOME
except ImportError:  # it wants setuptools
    CUDA_HOME = None
devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
print(json.dumps([torch.__version__, devices, CUDA_HOME]))
"""
# Importing mediapipe does not load its native library yet: the first image does.
MEDIAPIPE = """
import numpy, mediapipe
mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=numpy.zeros((8, 8, 3), numpy.uint8))
"""


def run_python(code: str, timeout_s: float = _TIMEOUT_S) -> tuple[str, str]:
    """Run `code` in a fresh Python and return its output and, where it failed, why (else an empty string)."""
    try:
        outcome = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=timeout_s
        )
    except subprocess.TimeoutExpired:
        return "", f"no end after {timeout_s:g} s"
    if outcome.returncode == 0:
        return outcome.stdout, ""
    if outcome.returncode < 0:
        return "", f"ended by signal {-outcome.returncode}"
    return "", (outcome.stderr.strip().splitlines() or ["it said nothing"])[-1]


def torch_build() -> tuple[TorchBuild | None, str]:
    """Return the installed torch, or None and why it cannot be imported."""
    output, error = run_python(_TORCH)
    if error:
        return None, error
    version, devices, cuda_home = json.loads(output.splitlines()[-1])
    return TorchBuild(version, tuple(devices), cuda_home), ""


def installed_version(distribution: str) -> str | None:
    """Return the version of an installed distribution; it is not imported."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def dvc_analytics_enabled(config_files: Sequence[Path]) -> bool:
    """Return whether DVC sends usage reports: the first of its config files that says so decides, else it does."""
    if os.environ.get("DVC_NO_ANALYTICS"):
        return False
    for path in config_files:
        config = configparser.ConfigParser(interpolation=None, strict=False)
        config.read(path, encoding="utf-8")
        if config.has_option("core", "analytics"):
            return config.getboolean("core", "analytics")
    return True


def dvc_config_files(root: Path) -> list[Path]:
    """Return DVC's config files, the one that wins first."""
    user = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    return [root / ".dvc" / "config.local", root / ".dvc" / "config", user / "dvc" / "config"]


def disk_usage(folder: Path) -> tuple[int, int]:
    """Return size and free bytes of the disk of `folder`, which need not exist yet."""
    existing = next(path for path in [folder.absolute(), *folder.absolute().parents] if path.exists())
    usage = shutil.disk_usage(existing)
    return usage.total, usage.free


def git_state(root: Path) -> tuple[str | None, bool]:
    """Return git's version (None: not installed) and whether `root` is in a git repository."""
    if shutil.which("git") is None:
        return None, False
    version = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    inside = subprocess.run(["git", "-C", str(root), "rev-parse", "--git-dir"], capture_output=True, check=False)
    return version, inside.returncode == 0
