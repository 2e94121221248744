"""A file that cannot be read now is no broken video: it is not worked on, and not kept as a result."""

import hashlib
import logging
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from operator import attrgetter
from pathlib import Path

import pytest

from mggtalk.artifacts import Artifacts
from mggtalk.errors import StageError
from mggtalk.params import Params
from mggtalk.records import Rejected, RejectReason, VideoRecord
from mggtalk.runtime.cached_run import isolated
from mggtalk.runtime.stage_command import StageArguments
from mggtalk.stages.ingest.stage import write_videos
from mggtalk.stages.limits import clip_deadline_s, is_retried, part_deadline_s
from mggtalk.stages.shards.stage import ShardsStage
from mggtalk.stages.tables import read_rejects
from mggtalk.stages.track.identity.embedding import IdentityStage
from mggtalk.stages.track.stage import TrackStage
from mggtalk.stages.video_file_check import WithVideoFile
from pipelines import track
from tests.support.footage import record_of
from tests.support.paths import ROOT


@pytest.fixture
def video(tmp_path: Path) -> VideoRecord:
    path = tmp_path / "talk.mp4"
    path.write_bytes(b"moving pictures")
    return record_of(path, sha256=hashlib.sha256(b"moving pictures").hexdigest())


class Decoder:
    """Keeps the name of every video; or does something to the file and cannot decode it."""

    def __init__(self, deed: Callable[[Path], None] | None = None) -> None:
        self._deed = deed

    def __call__(self, record: VideoRecord) -> Iterator[str | Rejected]:
        if self._deed is None:
            yield record.name
        else:
            self._deed(Path(record.path))
            yield Rejected(record.name, RejectReason.DECODE_ERROR, "no frame")


def results_of(video: VideoRecord, deed: Callable[[Path], None] | None = None) -> list[str | Rejected]:
    return list(WithVideoFile(partial(Decoder, deed), "name", lambda record: record)(video))


def test_a_file_as_ingested_is_worked_on(video):
    assert results_of(video) == [video.name]


def test_a_broken_file_stays_a_broken_file(video):
    (rejected,) = results_of(video, lambda _: None)
    assert isinstance(rejected, Rejected)
    assert rejected.reason is RejectReason.DECODE_ERROR
    assert not is_retried(rejected, "track")


def remove(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(b"moving")


def overwrite(path: Path) -> None:
    path.write_bytes(b"others' pictures"[:15])


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("deed", "detail"),
    [
        (remove, "No such file"),
        (truncate, "6 bytes, expected 15"),
        (overwrite, "has SHA-256"),
        (replace_by_folder, "Is a directory"),
    ],
)
@pytest.mark.parametrize("when", ["before", "during"])
def test_a_file_that_is_not_there_as_ingested_is_tried_again(video, deed, detail, when, caplog):
    if when == "before":
        deed(Path(video.path))
        (rejected,) = results_of(video)
    else:
        (rejected,) = results_of(video, deed)
    assert isinstance(rejected, Rejected)
    assert (rejected.key, rejected.reason) == (video.name, RejectReason.MISSING_FILE)
    assert detail in rejected.detail
    with caplog.at_level(logging.WARNING):
        assert is_retried(rejected, "track")
    assert f"track: {video.name}: MISSING_FILE" in caplog.text


@pytest.mark.parametrize(
    ("factory", "deadline_s"),
    [(TrackStage, part_deadline_s), (ShardsStage, clip_deadline_s), (IdentityStage, part_deadline_s)],
)
def test_a_worker_that_hands_a_stage_on_to_its_child_loads_none_of_its_networks(factory, deadline_s):
    handed_on = pickle.dumps(partial(WithVideoFile, isolated(factory, "name", deadline_s), "name", attrgetter("video")))
    code = (
        "import pickle, sys; import mggtalk.runtime.stage_runner; pickle.load(sys.stdin.buffer)();"
        f"print({{'cv2', 'dlib', 'mediapipe', 'scipy', 'torch', {factory.__module__!r}}} & sys.modules.keys())"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, input=handed_on, capture_output=True, check=True)
    assert ran.stdout.decode().strip() == "set()"


@pytest.mark.usefixtures("local_ray")
def test_tracking_keeps_no_result_of_a_missing_file(video, tmp_path, face_landmarker_path):
    artifacts = Artifacts(tmp_path / "artifacts")
    write_videos(artifacts.videos, [video], [])
    Path(video.path).unlink()
    with pytest.raises(StageError, match="none of 1 videos"):
        track.run(StageArguments(Params.load(ROOT / "params.yaml"), artifacts))
    assert [rejected.reason for rejected in read_rejects(artifacts.tracks)] == [RejectReason.MISSING_FILE]
    assert not list(artifacts.tracks.glob("videos/*"))
