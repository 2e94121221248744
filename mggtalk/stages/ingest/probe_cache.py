"""Remembers what every file was found to be, so that a rerun of `ingest` looks at names, sizes and times only."""

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

    So a file that has changed overwrites its own note, and one that is not there now, for its disk is not mounted,
    keeps it. Notes know nothing of labels and intervals: these are laid over.

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
        """Return what the file was found to be; None if that is not known of its present state."""
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
        """Store what the file, in the state before it was probed, was found to be, and return it."""
        (result,) = outputs
        kind = "rejected" if isinstance(result, Rejected) else "probed"
        self._notes.write(self._key(file.path), json.dumps({"file": asdict(file), kind: asdict(result)}).encode())
        return result

    def forget_all_but(self, paths: Iterable[str]) -> None:
        """Remove the notes of other files, and those that other code made."""
        self._notes.prune([self._key(path) for path in paths])

    def _key(self, path: str) -> str:
        return content_key(path=path, **self._made_by)
