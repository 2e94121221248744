"""Reads a shard from its first byte to its last and reports every byte that the format does not allow.

A member's name and size determine its header and padding, and two zero blocks end the tar, so no byte is free. Python's
`tarfile` takes a damaged header for the end of the tar; this reader continues after it.
"""

import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mggtalk.shards.verify.issues import Issue
from mggtalk.shards.writing.staging import TAR_END, tar_header

_BLOCK = tarfile.BLOCKSIZE
_FIELDS = {  # of a ustar header: begin, end
    "name": (0, 100),
    "mode": (100, 108),
    "owner": (108, 116),
    "group": (116, 124),
    "size": (124, 136),
    "time": (136, 148),
    "checksum": (148, 156),
    "type": (156, 157),
    "link name": (157, 257),
    "magic": (257, 265),
    "owner's name": (265, 297),
    "group's name": (297, 329),
    "device": (329, 345),
    "prefix": (345, 500),
    "reserved": (500, 512),
}


@dataclass(frozen=True, slots=True)
class TarMember:
    """A member as found in the tar.

    Attributes:
        key, name: of the sample and of the member in it.
        offset: of the header. header, data, padding: the bytes, as found.
        is_intact: header and padding are valid.
    """

    key: str
    name: str
    offset: int
    header: bytes
    data: bytes
    padding: bytes
    is_intact: bool


def walk_tar(path: Path, shard: str, known: Mapping[int, tuple[str, int]], issues: list[Issue]) -> Iterator[TarMember]:
    """Yield the members of a shard in their order; add faults of headers, padding and end to `issues`.

    Args:
        shard: its path in the data set.
        known: offset of the header -> name in the tar, and size, as the index has them; used to continue after a
            damaged header.

    Raises:
        OSError: the file cannot be read.
    """
    end = path.stat().st_size
    with path.open("rb") as file:
        offset = 0
        while True:
            header = _read(file, offset, _BLOCK)
            entry = parsed = _parse_header(header)
            if parsed is None and end - offset <= len(TAR_END):
                issues += _check_end(_read(file, offset, len(TAR_END)), shard, offset)
                return
            if entry is None:
                entry = known.get(offset)
                issues.append(_header_issue(shard, offset, header, entry))
                if entry is None:
                    offset = _next_header(file, offset + _BLOCK, end)
                    continue
            name, size = entry
            key, _, member = name.partition(".")
            data = _read(file, offset + _BLOCK, size)
            padding = _read(file, offset + _BLOCK + size, -size % _BLOCK)
            if len(data) < size:
                issues.append(Issue(shard, "the file ends within", key, member, f"{size} bytes", str(len(data))))
                return
            padded = padding == bytes(-size % _BLOCK)
            if not padded:
                issues.append(Issue(shard, "the padding behind it is not all zero", key, member))
            yield TarMember(key, member, offset, header, data, padding, is_intact=padded and parsed is not None)
            offset += _BLOCK + size + len(padding)


def _check_end(rest: bytes, shard: str, offset: int) -> list[Issue]:
    if rest == TAR_END:
        return []
    what = f"does not end with {len(TAR_END)} zero bytes"
    return [Issue(shard, what, expected=f"them at {offset}", got=f"{len(rest)} bytes, {sum(map(bool, rest))} not zero")]


def _parse_header(header: bytes) -> tuple[str, int] | None:
    """Return the name and size in a header; None if any byte differs from the header that they determine."""
    try:
        name = header[: tarfile.LENGTH_NAME].rstrip(b"\0").decode("ascii")
        size = int(header[slice(*_FIELDS["size"])].rstrip(b"\0 "), 8)
        if size >= 0 and tar_header(name, size) == header:
            return name, size
    except ValueError:
        pass
    return None


def _header_issue(shard: str, offset: int, header: bytes, entry: tuple[str, int] | None) -> Issue:
    what = f"damaged tar header at {offset}"
    if entry is None:
        return Issue(shard, what)
    key, _, member = entry[0].partition(".")
    expected = tar_header(*entry)
    wrong = [name for name, (begin, stop) in _FIELDS.items() if header[begin:stop] != expected[begin:stop]]
    begin, stop = _FIELDS[wrong[0]]
    return Issue(
        shard, f"{what}: {', '.join(wrong)}", key, member, repr(expected[begin:stop]), repr(header[begin:stop])
    )


def _next_header(file: BinaryIO, offset: int, end: int) -> int:
    """Return the offset of the next valid header, or where the end blocks should be if there is none."""
    while end - offset > len(TAR_END):
        if _parse_header(_read(file, offset, _BLOCK)) is not None:
            return offset
        offset += _BLOCK
    return max(end - len(TAR_END), offset)


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)
