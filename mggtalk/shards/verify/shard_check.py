"""Checks one shard: its tar, its samples, and the rows of the index against the rows that follow from its bytes."""

import hashlib
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from mggtalk.errors import ShardError
from mggtalk.shards.index import SampleRow
from mggtalk.shards.schema import (
    INDEX_NAME,
    META_MEMBER,
    TRACKS_MEMBER,
    SampleMeta,
    dump_meta,
    member_names,
    parse_meta,
)
from mggtalk.shards.verify.issues import Issue
from mggtalk.shards.verify.member_check import check_member
from mggtalk.shards.verify.tar_walk import TarMember, walk_tar
from mggtalk.shards.writing.staging import sample_row

_RANGE = ("offset", "size_bytes")
_MEMBER_RANGES = ("member_offsets", "member_sizes")
_QUALITY = ("mean_sharpness", "mean_face_size")
_HASHES = ("sha256", "member_crc32")
_LABELS = tuple(
    name
    for name in SampleRow.__dataclass_fields__
    if name not in {"key", "shard", *_RANGE, *_MEMBER_RANGES, *_QUALITY, *_HASHES}
)


def check_shard(
    root: Path,
    shard: str,
    indexed: Mapping[str, SampleRow] | None,
    issues: list[Issue],
    *,
    fast: bool,
    advance: Callable[[int], None],
) -> Iterator[SampleRow]:
    """Yield the row of each sample, computed from its bytes, or the index's if they are damaged; add to `issues`.

    Only one sample at a time is in memory.

    Args:
        indexed: the index's rows of this shard by key; None if there is no index.
        fast: decode only the tracks, because the index has their quality.
        advance: called with the number of bytes checked.
    """
    rows = indexed or {}
    known = {
        offset - tarfile.BLOCKSIZE: (f"{row.key}.{name}", size)
        for row in rows.values()
        for name, offset, size in zip(row.member_names, row.member_offsets, row.member_sizes, strict=False)
    }
    seen: set[str] = set()
    last = ("", 0)
    try:
        for key, group in groupby(walk_tar(root / shard, shard, known, issues), attrgetter("key")):
            members = list(group)
            if key in seen:
                issues.append(Issue(shard, "its members are not together", key))
            elif indexed is not None and key not in indexed:
                issues.append(Issue(INDEX_NAME, f"no row; the sample is in {shard}", key))
            seen.add(key)
            row = _SampleCheck(shard, key, members, rows.get(key), issues).run(fast=fast)
            if row is not None:
                if (row.clip_id, row.start_frame) < last:
                    issues.append(Issue(shard, "not in the order of clips and chunks", key))
                last = (row.clip_id, row.start_frame)
                yield row
            advance(sum(len(member.header) + len(member.data) + len(member.padding) for member in members))
    except OSError as cause:
        issues.append(Issue(shard, f"cannot be read: {cause.strerror}"))
    for key in sorted(rows.keys() - seen):
        issues.append(Issue(shard, "missing, but the index has it", key))
        yield rows[key]


class _SampleCheck:
    """Checks one sample."""

    def __init__(
        self, shard: str, key: str, members: list[TarMember], indexed: SampleRow | None, issues: list[Issue]
    ) -> None:
        self._shard, self._key, self._members, self._indexed = shard, key, members, indexed
        self._issues = issues
        self._contents = {member.name: member.data for member in members}
        digest = hashlib.sha256()
        for member in members:
            digest.update(member.header + member.data + member.padding)
        self._sha256 = digest.hexdigest()
        self._damaged = self._compare_data()

    def run(self, *, fast: bool) -> SampleRow | None:
        """Check the sample; return its row, or the index's if it cannot be computed, or None if there is neither."""
        meta = self._parse_meta()
        if meta is None:
            return self._indexed
        self._check_meta(meta)
        self._check_names(meta)
        names = member_names(meta.num_frames, meta.source_frames, has_audio=meta.audio.has_member)
        self._decode(meta, {TRACKS_MEMBER} if fast else set(names))
        row = self._row(meta)
        if row is not None and self._indexed is not None:
            self._compare_rows(self._indexed, row)
        return row or self._indexed

    def _compare_data(self) -> set[str]:
        """Compare CRC-32s to the index's and return the damaged members."""
        if self._indexed is None or len(self._indexed.member_crc32) != len(self._indexed.member_names):
            return set()
        expected = dict(zip(self._indexed.member_names, self._indexed.member_crc32, strict=True))
        found = {name: zlib.crc32(data) for name, data in self._contents.items()}
        differing = [name for name in found if name in expected and found[name] != expected[name]]
        # The hash of the whole sample tells whether the data or the index is wrong.
        intact = self._sha256 == self._indexed.sha256
        for name in differing:
            of_index, of_data = f"{expected[name]:08x}", f"{found[name]:08x}"
            if intact:
                self._add("member_crc32", name, in_index=True, expected=of_data, got=of_index)
            else:
                self._add("damaged: CRC-32", name, expected=of_index, got=of_data)
        return set() if intact else set(differing)

    def _parse_meta(self) -> SampleMeta | None:
        if META_MEMBER not in self._contents:
            self._add("missing", META_MEMBER)
            return None
        try:
            return parse_meta(self._contents[META_MEMBER], "content")
        except ShardError as error:
            self._add(str(error), META_MEMBER)
            return None

    def _check_meta(self, meta: SampleMeta) -> None:
        if dump_meta(meta.to_mapping()) != self._contents[META_MEMBER]:
            self._add("not as it is written: sorted keys, no spaces", META_MEMBER)
        try:
            key = meta.key
        except ValueError as cause:
            key = str(cause)
        if key != self._key:
            self._add("belongs to another sample", META_MEMBER, expected=self._key, got=key)
        folder = self._shard.partition("/")[0]
        if meta.split != folder:
            self._add("split", META_MEMBER, expected=folder, got=str(meta.split))
        if len(meta.depth_scale) != len(meta.source_frames):
            expected = f"{len(meta.source_frames)} numbers"
            self._add("depth_scale", META_MEMBER, expected=expected, got=str(len(meta.depth_scale)))

    def _check_names(self, meta: SampleMeta) -> None:
        names = [member.name for member in self._members]
        expected = [META_MEMBER, *member_names(meta.num_frames, meta.source_frames, has_audio=meta.audio.has_member)]
        for name in sorted(set(expected) - set(names)):
            self._add("missing", name)
        for name in sorted(set(names) - set(expected)):
            self._add("not in the schema", name)
        if set(names) == set(expected) and names != expected:
            self._add("members twice or not in the schema's order")

    def _decode(self, meta: SampleMeta, wanted: set[str]) -> None:
        for name, data in self._contents.items():
            # A damaged member is already reported.
            if name in wanted and name not in self._damaged:
                try:
                    check_member(name, data, meta)
                except ValueError as cause:
                    self._add(str(cause), name)

    def _row(self, meta: SampleMeta) -> SampleRow | None:
        start = self._members[0].offset
        size = sum(len(member.header) + len(member.data) + len(member.padding) for member in self._members)
        offsets = [member.offset + tarfile.BLOCKSIZE for member in self._members]
        try:
            row = sample_row(meta, self._contents, offsets, start, size, self._sha256)
        except (KeyError, ValueError):  # missing or unreadable tracks, which are already reported
            return None
        return replace(row, key=self._key, shard=self._shard)

    def _compare_rows(self, indexed: SampleRow, row: SampleRow) -> None:
        """Compare the fields that follow from undamaged members."""
        fields = [*_RANGE]
        if META_MEMBER not in self._damaged:
            fields += _LABELS
        if TRACKS_MEMBER not in self._damaged:
            fields += _QUALITY
        if not self._damaged and all(member.is_intact for member in self._members):
            fields.append("sha256")
        for name in fields:
            expected, got = getattr(row, name), getattr(indexed, name)
            if expected != got:
                self._add(name, in_index=True, expected=str(expected), got=str(got))
        if len(row.member_crc32) != len(indexed.member_crc32):
            expected = f"{len(row.member_crc32)} numbers"
            self._add("member_crc32", in_index=True, expected=expected, got=str(len(indexed.member_crc32)))
        if row.member_names == indexed.member_names:
            for name in _MEMBER_RANGES:
                self._compare_members(name, getattr(row, name), getattr(indexed, name))

    def _compare_members(self, name: str, expected: tuple[int, ...], got: tuple[int, ...]) -> None:
        if len(got) != len(expected):
            self._add(name, in_index=True, expected=f"{len(expected)} numbers", got=str(len(got)))
            return
        for member, *numbers in zip(self._contents, expected, got, strict=True):
            if numbers[0] != numbers[1]:
                self._add(name, member, in_index=True, expected=str(numbers[0]), got=str(numbers[1]))

    def _add(self, what: str, member: str = "", *, in_index: bool = False, expected: str = "", got: str = "") -> None:
        file = INDEX_NAME if in_index else self._shard
        self._issues.append(Issue(file, what, self._key, member, expected, got))
