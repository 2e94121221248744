"""Reads a shard from its first byte to its last and finds every byte that is not what a shard's must be.

The tar format leaves nothing open here: from a member's name and size follow its header and padding, and after the last
member come two zero blocks. Python's `tarfile` takes a damaged header for the end of the tar; this goes on behind it.
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
    """A member as it lies in the tar.

    Attributes:
        key, name: of the sample and of the member in it.
        offset: of the header. header, data, padding: the bytes, as found.
        sound: header and padding are what they should be.
    """

    key: str
    name: str
    offset: int
    header: bytes
    data: bytes
    padding: bytes
    sound: bool


def walk_tar(path: Path, shard: str, known: Mapping[int, tuple[str, int]], issues: list[Issue]) -> Iterator[TarMember]:
    """Yield the members of a shard in their order; what is wrong beside their data goes to `issues`.

    Args:
        shard: its path in the data set. known: offset of the header -> name in the tar, and size, as the index has
            them; where the header itself is damaged, they say how to go on.

    Raises:
        OSError: the file cannot be read.
    """
    end = path.stat().st_size
    with path.open("rb") as file:
        offset = 0
        while True:
            header = _read(file, offset, _BLOCK)
            place = described = _described(header)
            if described is None and end - offset <= len(TAR_END):
                issues += _check_end(_read(file, offset, len(TAR_END)), shard, offset)
                return
            if place is None:
                place = known.get(offset)
                issues.append(_header_fault(shard, offset, header, place))
                if place is None:
                    offset = _next_header(file, offset + _BLOCK, end)
                    continue
            name, size = place
            key, _, member = name.partition(".")
            data = _read(file, offset + _BLOCK, size)
            padding = _read(file, offset + _BLOCK + size, -size % _BLOCK)
            if len(data) < size:
                issues.append(Issue(shard, "the file ends within", key, member, f"{size} bytes", str(len(data))))
                return
            padded = padding == bytes(-size % _BLOCK)
            if not padded:
                issues.append(Issue(shard, "the padding behind it is not all zero", key, member))
            yield TarMember(key, member, offset, header, data, padding, sound=padded and described is not None)
            offset += _BLOCK + size + len(padding)


def _check_end(rest: bytes, shard: str, offset: int) -> list[Issue]:
    if rest == TAR_END:
        return []
    what = f"does not end with {len(TAR_END)} zero bytes"
    return [Issue(shard, what, expected=f"them at {offset}", got=f"{len(rest)} bytes, {sum(map(bool, rest))} not zero")]


def _described(header: bytes) -> tuple[str, int] | None:
    """Return the name and size in a header; None if it is not exactly what these give."""
    try:
        name = header[: tarfile.LENGTH_NAME].rstrip(b"\0").decode("ascii")
        size = int(header[slice(*_FIELDS["size"])].rstrip(b"\0 "), 8)
        if size >= 0 and tar_header(name, size) == header:
            return name, size
    except ValueError:
        pass
    return None


def _header_fault(shard: str, offset: int, header: bytes, place: tuple[str, int] | None) -> Issue:
    what = f"damaged tar header at {offset}"
    if place is None:
        return Issue(shard, what)
    key, _, member = place[0].partition(".")
    expected = tar_header(*place)
    wrong = [name for name, (begin, stop) in _FIELDS.items() if header[begin:stop] != expected[begin:stop]]
    begin, stop = _FIELDS[wrong[0]]
    return Issue(
        shard, f"{what}: {', '.join(wrong)}", key, member, repr(expected[begin:stop]), repr(header[begin:stop])
    )


def _next_header(file: BinaryIO, offset: int, end: int) -> int:
    """Return where the next sound header lies, or else where the end blocks should."""
    while end - offset > len(TAR_END):
        if _described(_read(file, offset, _BLOCK)) is not None:
            return offset
        offset += _BLOCK
    return max(end - len(TAR_END), offset)


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)
