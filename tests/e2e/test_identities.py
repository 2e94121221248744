"""Identities of tracked videos on a local Ray: what is done stays done, and what is found reaches the clips.

A person is a colour here: the encoder tells people apart by the mean colour of the picture.
"""

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mggtalk.errors import StageError, WeightsError
from mggtalk.records import Rejected, RejectReason, Segment, Split, TrackedVideo, VideoPart, VideoRecord
from mggtalk.runtime.cached_run import run_cached
from mggtalk.stages.ingest.config import IngestConfig
from mggtalk.stages.track.config import TrackConfig
from mggtalk.stages.track.identity.definition import (
    EMBEDDINGS_DIRECTORY,
    IdentityDefinition,
    forget_identities,
    identity_definition,
)
from mggtalk.stages.track.identity.resolution import ClipIdentity, read_identities
from mggtalk.stages.track.track_files import SUFFIX, VIDEOS_DIRECTORY, encode_track, read_track_files
from tests.support.footage import bare_clip, record_of
from tests.support.media import write_video

pytestmark = pytest.mark.usefixtures("local_ray")

CONFIG = IngestConfig(recipe="", watch="", val_fraction=0.3, test_fraction=0.3)
RED, BLUE = (220, 30, 30), (30, 30, 220)


class ColorEncoder:
    """The mean colour, 1 the brightest."""

    def encode(self, image, landmarks_px):
        return (image.mean(axis=(0, 1)) / 255).astype(np.float32)


class Project:
    """Videos of one or two clips with their track files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tracks = root / "tracks"
        self.videos: dict[str, VideoRecord] = {}

    def add(self, file: int, *colors: tuple[int, int, int], identity: str = "") -> VideoRecord:
        def picture(number: int, width: int, height: int) -> np.ndarray:
            return np.full((height, width, 3), colors[number // 25], np.uint8)

        path = write_video(self.root / f"{file}.mp4", 25 * len(colors), draw_frame=picture)
        video_id = f"{file:016x}"
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        record = record_of(path, video_id=video_id, sha256=sha256, identity=identity or f"video:{video_id}")
        clips = tuple(bare_clip(record, start, 25) for start in range(0, 25 * len(colors), 25))
        segments = tuple(Segment(video_id, clip.start_frame, 25, clip.clip_id, None) for clip in clips)
        self.write(record, TrackedVideo(record, clips, segments))
        return record

    def write(self, record: VideoRecord, result: TrackedVideo | Rejected) -> None:
        self.videos[record.video_id] = record
        path = self.tracks / VIDEOS_DIRECTORY / f"{record.video_id}{SUFFIX}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_track(VideoPart(record), result))

    def identify(self) -> Mapping[str, ClipIdentity]:
        run_cached(IdentityDefinition(self.tracks, self.videos, ColorEncoder, "hash of the colours", CONFIG))
        people = read_identities(self.tracks)
        assert people is not None
        return people

    def embedding_files(self) -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in (self.tracks / EMBEDDINGS_DIRECTORY).iterdir()}


@pytest.fixture(scope="module")
def identified(tmp_path_factory) -> Project:
    """A project whose people have been found, once for all tests: every stage on Ray costs seconds."""
    made = Project(tmp_path_factory.mktemp("identified"))
    made.add(1, RED)
    made.add(2, BLUE, RED)
    made.add(3, BLUE, identity="ada")
    lost = record_of(made.root / "1.mp4", video_id=f"{9:016x}", name="lost.mp4")
    made.write(lost, Rejected("lost.mp4", RejectReason.NO_FACE))
    made.identify()
    return made


@pytest.fixture
def project(identified, tmp_path) -> Project:
    """A copy of it, to change."""
    copy = Project(tmp_path)
    copy.videos = dict(identified.videos)
    shutil.copytree(identified.tracks, copy.tracks)
    return copy


def test_people_are_found_across_videos_and_a_rejected_video_plays_no_part(identified):
    people = read_identities(identified.tracks)
    assert people is not None
    assert {clip_id: row.identity for clip_id, row in people.items()} == {
        f"{1:016x}-f000000": f"video:{1:016x}",
        f"{2:016x}-f000000": "ada",
        f"{2:016x}-f000025": f"video:{1:016x}",
        f"{3:016x}-f000000": "ada",
    }


def test_what_is_found_is_laid_over_the_clips_and_only_over_them(identified):
    people = read_identities(identified.tracks)
    assert people is not None
    tracked = [file.result for file in read_track_files(identified.tracks, identified.videos)]
    for result in (result for result in tracked if isinstance(result, TrackedVideo)):
        assert result.video == identified.videos[result.video.video_id]
        for clip in result.clips:
            found = people[clip.clip_id]
            assert (clip.video.identity, clip.video.split) == (found.identity, found.split)
            assert replace(clip.video, identity="", split=Split.TRAIN) == replace(
                result.video, identity="", split=Split.TRAIN
            )


def test_a_rerun_embeds_nothing_again_and_a_new_video_costs_itself_and_is_tried_until_it_is_there(project, caplog):
    first, before = read_identities(project.tracks), project.embedding_files()
    assert len(before) == 3
    assert project.identify() == first
    assert project.embedding_files() == before
    path = Path(project.add(4, RED).path)
    clip_id = f"{4:016x}-f000000"
    away = path.rename(project.root / "away.mp4")
    assert project.identify()[clip_id].embedding == ()
    assert "identities: 4.mp4: MISSING_FILE" in caplog.text
    assert project.embedding_files() == before
    away.rename(path)
    found = project.identify()[clip_id]
    assert (found.identity, found.num_faces) == (f"video:{1:016x}", 8)
    assert before.items() <= project.embedding_files().items()


def test_relabelling_embeds_nothing_again_and_what_is_gone_is_pruned(project):
    before = project.embedding_files()
    red = f"{1:016x}"
    project.videos[red] = replace(project.videos[red], identity="rose", split=Split.VAL)
    people = project.identify()
    assert people[f"{2:016x}-f000025"].identity == "rose"
    assert people[f"{2:016x}-f000025"].split is Split.VAL
    assert project.embedding_files() == before
    del project.videos[red]
    (project.tracks / VIDEOS_DIRECTORY / f"{red}{SUFFIX}").unlink()
    assert project.identify()[f"{2:016x}-f000025"].identity == f"video:{2:016x}-2"
    assert len(project.embedding_files()) == 2


def test_a_table_of_other_labels_or_clips_is_refused(project):
    blue = f"{3:016x}"
    relabelled = project.videos | {blue: replace(project.videos[blue], identity="eve")}
    moved = project.videos | {blue: replace(project.videos[blue], split=Split.TEST)}
    for videos in (relabelled, moved):
        with pytest.raises(StageError, match=r"3\.mp4: .* other clips or labels; .* run the stage track"):
            list(read_track_files(project.tracks, videos))
        assert len(list(read_track_files(project.tracks, videos, identified=False))) == 4
    project.add(4, RED)
    with pytest.raises(StageError, match=r"4\.mp4: clip .* other clips or labels"):
        list(read_track_files(project.tracks, project.videos))


def test_with_no_encoder_what_was_found_is_forgotten(project):
    forget_identities(project.tracks)
    assert [path.name for path in project.tracks.iterdir()] == [VIDEOS_DIRECTORY]
    (first, *_) = read_track_files(project.tracks, project.videos)
    assert isinstance(first.result, TrackedVideo)
    assert first.result.clips[0].video == first.record


def test_missing_weights_are_named_with_their_remedy(project, monkeypatch, tmp_path):
    monkeypatch.setenv("MGGTALK_CACHE", str(tmp_path / "cache"))
    with pytest.raises(WeightsError, match="mggtalk models fetch dlib_face_recognition"):
        identity_definition(TrackConfig(identity_encoder="dlib"), CONFIG, project.tracks, project.videos)
