"""All five stages on a local Ray, on real faces: what goes in comes out or is rejected, and a rerun costs nothing."""

import json
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
import yaml
from pyarrow import parquet

from benchmarks.range_server import serving
from mggtalk.artifacts import Artifacts
from mggtalk.models.checkpoint import load_predictor
from mggtalk.params import Params
from mggtalk.records import RejectReason, Split
from mggtalk.runtime.stage_command import StageArguments
from mggtalk.shards import Shards
from mggtalk.shards.verify.dataset_check import verify
from mggtalk.stages.ingest.stage import read_videos
from mggtalk.stages.tables import read_rejects
from mggtalk.visualization.inspection import PANEL_SIZE
from pipelines import evaluate, ingest, shards, track, train
from tests.support.paths import ROOT

pytestmark = pytest.mark.usefixtures("local_ray")

# The smallest run that is still real: 32 px, two steps.
CHANGES: Mapping[str, Mapping[str, Any]] = {
    "shards": {"size": 64},
    "train": {"workers": 1, "batch_size": 2, "track_pairs": 2, "steps": 2, "validation_pairs": 0}
    | {"log_every": 1, "checkpoint_every": 1},
    "evaluate": {"max_frames_per_clip": 3, "panel_size": 64, "pictures_per_clip": 1, "speed_repeats": 1},
}
MODEL = {"resolution": 32, "unet_channels": 4, "feature_channels": 8, "hidden_channels": 16, "voxel_size_cm": 1.0}
LABELS, SPLITS = {"single_face.mp4": "ada", "face_noface.mov": "bob"}, {"ada": "train", "bob": "test"}
STAGES: Mapping[str, Callable[[StageArguments], None]] = {
    "ingest": ingest.run,
    "track": track.run,
    "shards": shards.run,
    "train": partial(train.run, launcher="local"),
    "evaluate": evaluate.run,
}


class Project:
    """A folder of videos with labels, its parameters and its artifacts."""

    def __init__(self, root: Path, videos: Mapping[str, Path]) -> None:
        self.folder = root / "data"
        self.folder.mkdir(parents=True)
        for name, source in videos.items():
            (self.folder / name).write_bytes(source.read_bytes())
        self.label(LABELS)
        params = yaml.safe_load((ROOT / "params.yaml").read_text())
        params["ingest"] |= {"recipe": str(root / "recipe.yaml"), "watch": str(self.folder)}
        for group, changes in CHANGES.items():
            params[group] |= changes
        params["train"]["model"] |= MODEL
        (root / "params.yaml").write_text(yaml.safe_dump(params))
        self.artifacts = Artifacts(root / "artifacts")
        self.arguments = StageArguments(Params.load(root / "params.yaml"), self.artifacts)

    def label(self, identities: Mapping[str, str], license_name: str = "MIT") -> None:
        rows = [f"{name},{identity},{license_name}" for name, identity in identities.items()]
        (self.folder.parent / "labels.csv").write_text("\n".join(["file,identity,license", *rows]) + "\n")
        recipe = {"kind": "folder", "path": "data", "labels": "labels.csv"}
        splits = {identity: SPLITS[identity] for identity in identities.values()}
        (self.folder.parent / "recipe.yaml").write_text(yaml.safe_dump({**recipe, "splits": splits}))

    def run(self, *stages: str) -> None:
        for stage in stages:
            STAGES[stage](self.arguments)

    def files(self, *folders: Path) -> dict[Path, bytes]:
        found = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        return {path.relative_to(self.artifacts.root): path.read_bytes() for path in found}


def add_all_but_ada(project: Project, sample_videos: Mapping[str, Path]) -> None:
    for name in ("face_noface.mov", "no_face.mp4"):
        (project.folder / name).write_bytes(sample_videos[name].read_bytes())
    (project.folder / "broken.mp4").write_bytes(sample_videos["single_face.mp4"].read_bytes()[:2000])
    (project.folder / "empty.mp4").touch()
    (project.folder / "twin.mp4").write_bytes(sample_videos["single_face.mp4"].read_bytes())


@pytest.fixture(scope="module")
def project(sample_videos, face_landmarker_path, segmenter_path, tmp_path_factory) -> Project:
    """A project after all five stages."""
    threads = torch.get_num_threads()
    project = Project(tmp_path_factory.mktemp("project"), {"single_face.mp4": sample_videos["single_face.mp4"]})
    add_all_but_ada(project, sample_videos)
    project.run(*STAGES)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
    return project


def test_every_input_ends_as_a_video_or_as_a_rejection_with_its_reason(project):
    kept = {video.name: video for video in read_videos(project.artifacts.videos)}
    reasons = {rejected.key: rejected.reason for rejected in read_rejects(project.artifacts.videos)}
    assert set(kept) | set(reasons) == {path.name for path in project.folder.iterdir()}
    assert not set(kept) & set(reasons)
    assert reasons["empty.mp4"] is RejectReason.EMPTY_FILE
    assert reasons["twin.mp4"] is RejectReason.DUPLICATE
    assert (kept["face_noface.mov"].identity, kept["face_noface.mov"].split) == ("bob", Split.TEST)


def test_every_video_ends_as_clips_or_as_a_rejection(project):
    clips = parquet.read_table(project.artifacts.tracks / "clips.parquet").to_pylist()
    rejects = read_rejects(project.artifacts.tracks)
    assert {clip["name"] for clip in clips} == {"single_face.mp4", "face_noface.mov"}
    assert [(rejected.key, rejected.reason) for rejected in rejects] == [("no_face.mp4", RejectReason.NO_FACE)]


def test_the_shards_hold_every_tracked_clip_under_its_split(project):
    assert verify(project.artifacts.shards).issues == []
    data_set = Shards(project.artifacts.shards)
    clips = parquet.read_table(project.artifacts.tracks / "clips.parquet").to_pylist()
    assert {clip.clip_id: clip.num_frames for clip in data_set.clips()} == {
        clip["clip_id"]: clip["num_frames"] for clip in clips
    }
    assert [clip.identity for clip in data_set.clips(Split.TEST)] == ["bob"]


def test_the_card_sums_up_what_every_stage_left_out(project):
    left_out = json.loads((project.artifacts.shards / "card.json").read_text())["rejects"]
    rejects = [
        *read_rejects(project.artifacts.videos),
        *read_rejects(project.artifacts.tracks),
        *read_rejects(project.artifacts.shards),
    ]
    assert left_out == dict(Counter(str(rejected.reason) for rejected in rejects))
    assert {"EMPTY_FILE", "DUPLICATE", "NO_FACE"} <= set(left_out)


def test_training_leaves_a_model_that_loads_and_its_curves(project):
    assert load_predictor(project.artifacts.model).settings.resolution == MODEL["resolution"]
    header, *rows = (project.artifacts.training / "plots/metrics/loss/total.tsv").read_text().splitlines()
    assert header == "step\ttotal"
    assert [row.split("\t")[0] for row in rows] == ["1", "2"]


def test_the_evaluation_scores_the_model_and_both_baselines_and_counts_the_rejects(project):
    metrics = json.loads((project.artifacts.evaluation / "metrics.json").read_text())
    assert set(metrics["self"]) == {"model", "copy_source", "mesh_warp"}
    assert metrics["self"]["copy_source"]["psnr_head"] > 0
    assert metrics["protocol"]["clips"] == [clip.clip_id for clip in Shards(project.artifacts.shards).clips(Split.TEST)]
    page = (project.artifacts.evaluation / "report.html").read_text()
    for reason in ("EMPTY_FILE", "DUPLICATE", "NO_FACE"):
        assert reason in page
    for clip_id in metrics["protocol"]["clips"]:
        inspection = cv2.imread(str(project.artifacts.evaluation / "media" / clip_id / "inspection.jpg"))
        assert inspection is not None
        assert inspection.shape[0] > 3 * PANEL_SIZE


def test_the_evaluation_streams_shards_and_then_needs_nothing_but_the_model(project, tmp_path):
    far = Artifacts(tmp_path / "artifacts")
    shutil.copytree(project.artifacts.model, far.model)
    with serving(project.artifacts.shards) as server:
        evaluate.run(StageArguments(project.arguments.params, far), server.url)
        assert server.sent_bytes
    here, there = (json.loads((each.evaluation / "metrics.json").read_text()) for each in (project.artifacts, far))
    assert {**there, "speed": None} == {**here, "speed": None}
    for clip_id in there["protocol"]["clips"]:
        assert (far.evaluation / "media" / clip_id / "inspection.jpg").is_file()
    assert {path.name for path in far.root.iterdir()} == {"model", "evaluation"}


def test_a_rerun_makes_nothing_again_and_changes_no_byte(project, caplog):
    before = project.files(project.artifacts.tracks, project.artifacts.shards, project.artifacts.model)
    with caplog.at_level(logging.INFO):
        project.run("track", "shards", "train")
    assert "track: 3 of 3 videos were finished before" in caplog.text
    assert "shards: 2 of 2 clips were finished before" in caplog.text
    assert "track in all: kept 2, rejected 1 (NO_FACE 1)" in caplog.text
    assert "shards in all: kept 2, rejected 0" in caplog.text
    assert "done before" in caplog.text
    assert project.files(project.artifacts.tracks, project.artifacts.shards, project.artifacts.model) == before


def test_what_is_relabelled_and_grows_costs_what_is_new_and_ends_with_the_same_bytes(
    project, sample_videos, tmp_path, monkeypatch, caplog
):
    """The same in another folder, on one worker and bit by bit: a video, another label for it, all other videos."""
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("MGGTALK_WORKERS", "1")
    ada = {"single_face.mp4": LABELS["single_face.mp4"]}
    other = Project(tmp_path, {"single_face.mp4": sample_videos["single_face.mp4"]})
    tracks, shards = other.artifacts.tracks, other.artifacts.shards
    other.label(ada, license_name="CC0-1.0")
    other.run("ingest", "track")
    tracked = other.files(tracks / "videos")

    other.label(ada)
    other.run("ingest", "track", "shards")
    assert "track: 1 of 1 videos were finished before" in caplog.text
    assert other.files(tracks / "videos") == tracked
    clips = parquet.read_table(tracks / "clips.parquet").to_pylist()
    assert [clip["license"] for clip in clips] == ["MIT"]

    before = other.files(shards)
    add_all_but_ada(other, sample_videos)
    other.label(LABELS)
    caplog.clear()
    other.run("ingest", "track", "shards")
    assert "track: 1 of 3 videos were finished before" in caplog.text
    assert "track: kept 1, rejected 1 (NO_FACE 1)" in caplog.text
    assert tracked.items() <= other.files(tracks / "videos").items()
    assert "shards: 1 of 2 clips were finished before" in caplog.text
    assert "shards: kept 1, rejected 0" in caplog.text
    after = other.files(shards)
    changed = {path.name if path.suffix != ".tar" else path for path in after if after[path] != before.get(path)}
    assert changed == {Path("shards/test/all.tar"), "index.parquet", "CARD.md", "card.json", "examples.jpg"}
    assert verify(shards).issues == []

    for name in ("tracks", "shards/train", "shards/test", "shards/index.parquet"):
        one, two = (p.artifacts.root / name for p in (project, other))
        if one.is_file():
            assert one.read_bytes() == two.read_bytes(), name
        else:
            assert project.files(one) == other.files(two), name
