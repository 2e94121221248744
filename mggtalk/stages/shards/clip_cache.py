"""Remembers which clips of the shards are done, so that a rerun makes only what is missing.

For every finished clip the staging folder, no output of the stage, holds a note under the clip's content key: the
hashes of its samples, or its rejection. The samples themselves lie beside the note as a tar until the shards are
assembled, and in the shards from then on: nothing is stored twice. A note names bytes, not places, so a crash in the
midst of the assembly, or shards that were made otherwise, cannot pass for what they are not.
"""

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from mggtalk.errors import ShardError
from mggtalk.records import Rejected, RejectReason, ShardSample
from mggtalk.result_cache import ResultCache
from mggtalk.shards.index import SampleRow, iterate_rows, read_index
from mggtalk.shards.writing.staging import StagedClip, open_staged, scan_tar, write_staged_clip

_logger = logging.getLogger(__name__)


class ClipCache:
    """The finished clips of a folder of shards.

    Args:
        staging: folder for notes and staged clips, on the file system of the shards' writer.
        shards: root of the shards.
    """

    def __init__(self, staging: Path, shards: Path) -> None:
        self._notes = ResultCache(staging, ".json")
        self._tars = ResultCache(staging, ".tar")
        self._shards = shards

    def find(self, key: str) -> StagedClip | Rejected | None:
        """Return what became of the clip with this content key; None if that is not known, or its bytes are lost."""
        if not self._notes.path(key).is_file():
            return None
        note = json.loads(self._notes.read(key))
        if "rejected" in note:
            return Rejected(**{**note["rejected"], "reason": RejectReason(note["rejected"]["reason"])})
        samples = tuple(note["samples"])
        return self._staged(key, samples) or self._intact(self._in_shards.get(samples))

    def keep(self, key: str, results: Sequence[ShardSample | Rejected]) -> StagedClip | Rejected:
        """Store a clip's samples, or the one rejection, and return it as `find` does."""
        samples = [result for result in results if isinstance(result, ShardSample)]
        if not samples:
            (rejected,) = (result for result in results if isinstance(result, Rejected))
            self._notes.write(key, json.dumps({"rejected": asdict(rejected)}).encode())
            return rejected
        stored = write_staged_clip(self._tars.path(key), samples)
        self._notes.write(key, json.dumps({"samples": [row.sha256 for row in stored.rows]}).encode())
        return stored

    def forget_all_but(self, keys: Iterable[str]) -> None:
        """Remove the notes of other clips, and all staged clips: call this when the shards are assembled."""
        self._notes.prune(list(keys))

    def _staged(self, key: str, samples: tuple[str, ...]) -> StagedClip | None:
        path = self._tars.path(key)
        if not path.is_file():
            return None
        try:
            clip = open_staged(path)
        except ShardError as damage:
            _logger.warning("shards: %s; the clip is made again", damage)
            return None
        if tuple(row.sha256 for row in clip.rows) == samples:
            return clip
        _logger.warning("shards: %s: other bytes than were written; the clip is made again", path)
        return None

    @staticmethod
    def _intact(clip: StagedClip | None) -> StagedClip | None:
        """Return the clip if its bytes are what its rows say; the index alone cannot know."""
        if clip is None:
            return None
        try:
            with clip.path.open("rb") as shard:
                intact = all(_sha256_at(shard, row) == row.sha256 for row in clip.rows)
        except OSError:
            intact = False
        if not intact:
            _logger.warning("shards: %s: damaged or gone; clip %s is made again", clip.path, clip.clip_id)
        return clip if intact else None

    @cached_property
    def _in_shards(self) -> dict[tuple[str, ...], StagedClip]:
        """Clips in the shards by the hashes of their samples."""
        rows: defaultdict[tuple[str, str], list[SampleRow]] = defaultdict(list)
        for row in self._rows():
            rows[row.shard, row.clip_id].append(row)
        clips = [
            StagedClip(self._shards / shard, tuple(sorted(members, key=lambda row: row.start_frame)))
            for (shard, _), members in rows.items()
        ]
        return {tuple(row.sha256 for row in clip.rows): clip for clip in clips}

    def _rows(self) -> Iterator[SampleRow]:
        try:
            yield from iterate_rows(read_index(self._shards))
        except ShardError:  # never finished, or the run that assembled them was killed: what do the tars hold?
            for path in sorted(self._shards.glob("*/*.tar")):
                try:
                    yield from [
                        row.relocated(path.relative_to(self._shards).as_posix(), row.offset) for row in scan_tar(path)
                    ]
                except ShardError as damage:
                    _logger.warning("shards: %s; its clips are made again", damage)


def _sha256_at(shard: BinaryIO, row: SampleRow) -> str:
    shard.seek(row.offset)
    return hashlib.sha256(shard.read(row.size_bytes)).hexdigest()
