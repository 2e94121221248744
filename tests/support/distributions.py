"""Small wheels and sdists that pip accepts, and a folder of them that stands for the user's package index."""

import base64
import hashlib
import io
import os
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

_BACKEND = """
import os
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    open({marker!r}, "w").close()
    name = "sounds-1.0.dist-info"
    os.mkdir(os.path.join(folder, name))
    with open(os.path.join(folder, name, "METADATA"), "w") as metadata:
        metadata.write("Metadata-Version: 2.1\\nName: sounds\\nVersion: 1.0\\n")
    return name
def build_wheel(*_):
    raise AssertionError("nobody asked for a wheel")
"""


def write_wheel(folder: Path, members: Mapping[str, bytes], tag: str = "py3-none-any", version: str = "1.0") -> Path:
    """Write `sounds-VERSION-TAG.whl` with `members` into `folder`."""
    info = f"sounds-{version}.dist-info"
    python, abi, platform = tag.split("-")
    files = {
        **members,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: sounds\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {python}-{abi}-{platform}\n".encode(),
    }
    record = "".join(f"{name},sha256={_record_hash(content)},{len(content)}\n" for name, content in files.items())
    path = folder / f"sounds-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in {**files, f"{info}/RECORD": record.encode()}.items():
            wheel.writestr(name, content)
    return path


def write_sdist(folder: Path, members: Mapping[str, bytes], build_marker: Path) -> Path:
    """Write `sounds-1.0.tar.gz` with `members` below `sounds-1.0/`; when pip runs its code, `build_marker` appears."""
    project = b'[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    files = {
        "PKG-INFO": b"Metadata-Version: 2.1\nName: sounds\nVersion: 1.0\n",
        "pyproject.toml": project,
        "backend.py": _BACKEND.format(marker=str(build_marker)).encode(),
        **members,
    }
    path = folder / "sounds-1.0.tar.gz"
    write_tar(path, {f"sounds-1.0/{name}": content for name, content in files.items()})
    return path


def write_tar(path: Path, members: Mapping[str, bytes]) -> None:
    """Write a `.tar.gz` of plain files."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def sha256(content: bytes) -> str:
    """Return the SHA-256 as hex digits."""
    return hashlib.sha256(content).hexdigest()


def use_index(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Make pip find distributions in `folder` alone, by the environment variables that a user would set."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))


def _record_hash(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
