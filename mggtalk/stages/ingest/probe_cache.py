"""Caches the probe of every file, so that a rerun of `ingest` reads names, sizes and times only."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mggtalk.fingerprint import code_digest, content_key, library_versions
from mggtalk.records import Rejected, RejectReason
from mggtalk.result_cache import ResultCache
from mggtalk.stages.ingest.probe import ProbedFile, ProbeStage, VideoFile

_LIBRARIES = ("av",)


class ProbeCache:
    """One note a file, under a key of its path and of the code; the note says of which state of the file it is.

    A file that has changed overwrites its own note; one that is missing now, because its disk is not mounted, keeps it.
    Notes hold no labels and intervals: the stage applies these afterwards.

    Args:
        directory: folder of the notes; no output, and safe to delete.
    """

    def __init__(self, directory: Path) -> None:
        self._notes = ResultCache(directory, ".json")
        self._made_by = {
            "code": code_digest(ProbeStage.__module__),
            "libraries": library_versions(*_LIBRARIES),
        }

    def find(self, file: VideoFile) -> ProbedFile | Rejected | None:
        """Return the probe of the file; None if its present state has not been probed."""
        try:
            note: dict[str, Any] = json.loads(self._notes.read(self._key(file.path)))
        except (FileNotFoundError, ValueError):
            return None
        if note["file"] != asdict(file):
            return None
        if "rejected" in note:
            return Rejected(**{**note["rejected"], "reason": RejectReason(note["rejected"]["reason"])})
        return ProbedFile(**note["probed"])

    def keep(self, file: VideoFile, outputs: Sequence[ProbedFile | Rejected]) -> ProbedFile | Rejected:
        """Store the probe of the file, in the state that it had before, and return it."""
        (result,) = outputs
        kind = "rejected" if isinstance(result, Rejected) else "probed"
        self._notes.write(self._key(file.path), json.dumps({"file": asdict(file), kind: asdict(result)}).encode())
        return result

    def forget_all_but(self, paths: Iterable[str]) -> None:
        """Remove the notes of other files, and those that other code made."""
        self._notes.prune([self._key(path) for path in paths])

    def _key(self, path: str) -> str:
        return content_key(path=path, **self._made_by)
