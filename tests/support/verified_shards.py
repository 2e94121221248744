"""A small data set of shards and ways to damage it, for the tests of `verify`."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from mggtalk.records import Rejected, RejectReason, Split
from mggtalk.shards import (
    CardContext,
    SampleRow,
    write_card,
    write_examples,
    write_index,
    write_shards,
    write_staged_clip,
)
from mggtalk.shards.index import iterate_rows, read_index
from mggtalk.shards.verify.dataset_check import verify
from mggtalk.shards.verify.issues import Issue
from mggtalk.shards.writing.staging import TAR_END, scan_tar, tar_entry
from mggtalk.stages.tables import write_rejects
from mggtalk.video.audio import encode_flac
from tests.support.shard_samples import MadeClip, make_clip

ADA, BOB, CY, DEE = ("ab" * 8, "a0" * 8, "cd" * 8, "ef" * 8)
TARGET_MB = 0.02
CONTEXT = CardContext("people", parameters={"target_shard_mb": TARGET_MB}, rejects={"NO_HEAD": 1}, tools={"av": "1"})


def audio_of(num_frames: int, fps: float = 25.0) -> bytes:
    """Return audio of the length of some frames, as FLAC."""
    return encode_flac((np.arange(round(num_frames / fps * 16_000)) % 100).astype(np.int16))


def make_clips() -> list[MadeClip]:
    """Return clips for three shards of `train` and one of `test`; one has audio and a frame without geometry."""
    return [
        make_clip(ADA, num_frames=2, size=8, audio=audio_of(2)),
        make_clip(BOB, num_frames=1, size=8),
        make_clip(CY, num_frames=1, size=8),
        make_clip(DEE, num_frames=1, size=8, split=Split.TEST),
    ]


def write_dataset(root: Path, made: list[MadeClip]) -> dict[str, SampleRow]:
    """Write the files of the stage `shards`; return the rows by clip."""
    staging = root.parent / "staging"
    staged = [write_staged_clip(staging / f"{clip.meta.clip_id}.tar", clip.samples()) for clip in made]
    rows = write_shards(root, staged, target_bytes=round(TARGET_MB * 1e6))
    write_derived_files(root, rows)
    return {row.clip_id: row for row in rows}


def write_derived_files(root: Path, rows, examples: str | None = None) -> None:
    """Write the files that follow from the shards; `examples` overrides the hash of `examples.jpg` in the card."""
    digest = write_examples(root, rows) if examples is None else examples
    write_card(root, rows, replace(CONTEXT, examples=digest))
    write_rejects(root, [Rejected("x" * 16, RejectReason.NO_HEAD, "small")])
    write_index(root, rows)


def edit(path: Path, change: Callable[[bytearray], object]) -> None:
    """Change the bytes of a file in place."""
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)


def flip(path: Path, offset: int, mask: int = 1) -> None:
    """Flip the bits of `mask` in one byte of a file."""
    edit(path, lambda data: data.__setitem__(offset, data[offset] ^ mask))


def byte_range(row: SampleRow, member: str) -> tuple[int, int]:
    """Return offset and size of a member in its shard."""
    index = row.member_names.index(member)
    return row.member_offsets[index], row.member_sizes[index]


def find_issues(root: Path, *, fast: bool = False) -> list[Issue]:
    """Return the issues of the data set at `root`."""
    return verify(root, fast=fast).issues


def issue_locations(root: Path) -> list[tuple[str, str, str]]:
    """Return file, sample and member of each issue."""
    return [(issue.file, issue.sample, issue.member) for issue in find_issues(root)]


def member_contents(root: Path, row: SampleRow) -> dict[str, bytes]:
    """Return the members of a sample by name."""
    content = (root / row.shard).read_bytes()
    ranges = zip(row.member_names, row.member_offsets, row.member_sizes, strict=True)
    return {name: content[offset : offset + size] for name, offset, size in ranges}


def overwrite_shard(root: Path, row: SampleRow, members: list[tuple[str, bytes]], key: str = "") -> None:
    """Replace a shard of one sample by a tar of the given members."""
    entries = [tar_entry(f"{key or row.key}.{name}", data) for name, data in members]
    (root / row.shard).write_bytes(b"".join(entries) + TAR_END)


def replace_member(root: Path, row: SampleRow, member: str, data: bytes) -> None:
    """Replace the bytes of a member, and write tar, index and card that match them."""
    parts = [
        tar_entry(f"{row.key}.{name}", data if name == member else content)
        for name, content in member_contents(root, row).items()
    ]
    tar = root.parent / "changed.tar"
    tar.write_bytes(b"".join(parts) + TAR_END)
    (root / row.shard).write_bytes(tar.read_bytes())
    (changed,) = scan_tar(tar)
    kept = [other for other in iterate_rows(read_index(root)) if other.key != row.key]
    (root / "examples.jpg").unlink()
    write_derived_files(root, [*kept, replace(changed, shard=row.shard)], examples="")
