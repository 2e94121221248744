"""`mggtalk splits check`: is anybody in two parts of the data set?"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from mggtalk.errors import SplitLeakageError
from mggtalk.params import Params
from mggtalk.stages.ingest.config import IngestConfig
from mggtalk.stages.tables import CLIPS_FILE, read_rows
from mggtalk.stages.track.identity.clustering import SAME_PERSON
from mggtalk.stages.track.identity.leakage import Look, LookPair, SplitLeakageReport, checked_clips, find_split_leakage
from mggtalk.stages.track.identity.resolution import read_identities
from mggtalk.stages.track.tables import ClipRow

_MOST_SHOWN = 20
_NO_EMBEDDINGS = """\
no faces compared: there are no embeddings. To make them:
  pip install 'mggtalk[identity]' && mggtalk models fetch dlib_face_recognition
  set track.identity_encoder to dlib in the params file, and run the stage track"""


def check_splits(artifacts: Path, params: Params, *, as_json: bool, same_person: float | None = None) -> None:
    """Print which people are in which parts, and who is in several.

    Args:
        same_person: faces this close are one person; None for `SAME_PERSON`.

    Raises:
        SplitLeakageError: somebody is. StageError: the tables of `track` are missing or damaged. ParamsError: the group
            `ingest` does not fit its class.
    """
    config = params.group("ingest", IngestConfig)
    tracks = artifacts / "tracks"
    clips = checked_clips(read_rows(tracks / CLIPS_FILE, ClipRow), read_identities(tracks))
    threshold = SAME_PERSON if same_person is None else same_person
    report = find_split_leakage(clips, config.val_fraction, config.test_fraction, threshold)
    print(json.dumps(asdict(report), indent=2, ensure_ascii=False) if as_json else "\n".join(_lines(report)))
    if report.num_leaks:
        raise SplitLeakageError(f"{report.num_leaks} people are in more than one part of the data set")


def _lines(report: SplitLeakageReport) -> Iterator[str]:
    for split, count in report.splits.items():
        yield f"{split:6} {count.identities:6} identities {count.clips:8} clips {count.hours:10.2f} h"
    if report.not_by_hash:
        yield f"{len(report.not_by_hash)} identities are in a part that the recipe states, not their hash"
    for shared in report.shared[:_MOST_SHOWN]:
        parts = ", ".join(f"{split} {count}" for split, count in shared.clips.items())
        yield f"LEAK   {shared.identity}: clips in {parts}: {', '.join(shared.videos[:_MOST_SHOWN])}"
    for pair in report.leaked_faces[:_MOST_SHOWN]:
        yield f"LEAK   one face, two identities: {_pair(pair)}"
    for pair in report.twins[:_MOST_SHOWN]:
        yield f"note   one face, two identities in one part: {_pair(pair)}"
    for pair in report.strangers[:_MOST_SHOWN]:
        yield f"note   one identity, two faces: {_pair(pair)}"
    for name in report.changed[:_MOST_SHOWN]:
        yield f"note   one person seems to take another's place: {name}"
    shown = (report.shared, report.leaked_faces, report.twins, report.strangers, report.changed)
    if hidden := sum(max(len(rows) - _MOST_SHOWN, 0) for rows in shown):
        yield f"... and {hidden} more; --json has all"
    yield from _faces(report)


def _faces(report: SplitLeakageReport) -> Iterator[str]:
    if not report.num_embedded:
        yield _NO_EMBEDDINGS
        return
    yield f"faces of {report.num_embedded} of {report.num_clips} clips compared"
    if report.closest_apart:
        yield f"closest faces in two parts that pass for two people: {_pair(report.closest_apart)}"


def _pair(pair: LookPair) -> str:
    return f"{_look(pair.first)} and {_look(pair.second)}, distance {pair.distance:.2f}"


def _look(look: Look) -> str:
    return f"{look.identity} ({look.video}, {look.split})"
