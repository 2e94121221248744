"""What a user can get wrong ends with exit code 2 and one line that says what to mend."""

import dataclasses
import errno
from pathlib import Path
from typing import Any

import pytest
import yaml

from mggtalk.artifacts import Artifacts
from mggtalk.perception.head_models import HeadModels
from mggtalk.records import Rejected, RejectReason, Split, VideoPart
from mggtalk.result_cache import ResultCache
from mggtalk.runtime.stage_command import stage_main
from mggtalk.stages.ingest.stage import write_videos
from mggtalk.stages.shards import definition
from mggtalk.stages.tables import write_rejects
from mggtalk.stages.track.track_files import SUFFIX, VIDEOS_DIRECTORY, encode_track
from mggtalk.weights.table import find
from pipelines import evaluate, ingest, shards, track, train
from tests.support.footage import record_of
from tests.support.paths import ROOT
from tests.support.synthetic_head import make_talking_clip, write_talking_shards


@pytest.fixture
def params(tmp_path: Path) -> dict[str, Any]:
    """The project's own parameters, but with a recipe under `tmp_path`."""
    content: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
    content["ingest"]["recipe"] = str(tmp_path / "recipe.yaml")
    return content


@pytest.fixture
def fails(tmp_path, params, capsys):
    """Return the one line with which a stage fails."""

    def run(stage: Any) -> str:
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
        argv = ["--params", str(tmp_path / "params.yaml"), "--artifacts", str(tmp_path / "artifacts")]
        assert stage_main(stage.run, "", argv) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        return str(line)

    return run


def test_a_missing_recipe(fails, tmp_path):
    assert f"{tmp_path / 'recipe.yaml'}: no such file" in fails(ingest)


def test_a_folder_without_videos(fails, tmp_path):
    (tmp_path / "recipe.yaml").write_text("kind: folder\npath: empty\n")
    (tmp_path / "empty").mkdir()
    assert "no videos in" in fails(ingest)


@pytest.mark.parametrize("stage", [ingest, track, shards, evaluate], ids=lambda module: module.__name__)
def test_an_unknown_key_in_the_params(fails, params, stage):
    group = stage.__name__.removeprefix("pipelines.")
    params[group]["speeed"] = 3
    assert f"{group}: unknown key 'speeed'" in fails(stage)


def test_an_unknown_key_in_the_params_of_training(tmp_path, params, monkeypatch, capsys):
    params["train"]["model"]["layerss"] = 3
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.setattr("sys.argv", ["train", "--params", str(tmp_path / "params.yaml")])
    assert train.main() == 2
    assert "train: unknown key 'model.layerss'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stage", "missing"),
    [(track, "videos/videos.parquet"), (shards, "videos/videos.parquet"), (evaluate, "shards/index")],
)
def test_a_stage_before_its_input_is_there(fails, stage, missing):
    assert missing in fails(stage)


def test_artifacts_that_are_no_folder(fails, tmp_path):
    (tmp_path / "artifacts").write_text("a file")
    assert f"--artifacts {tmp_path / 'artifacts'}: expected a folder to write to" in fails(ingest)


def test_artifacts_where_nothing_can_be_written(fails, monkeypatch):
    monkeypatch.setattr(Path, "mkdir", _read_only)
    assert "Read-only file system" in fails(ingest)


def _read_only(path: Path, **_: Any) -> None:
    raise OSError(errno.EROFS, "Read-only file system", str(path))


@pytest.fixture
def tracked(tmp_path, monkeypatch, params):
    """A video that was ingested and tracked: rejected, for that is quick."""
    monkeypatch.setattr(definition, "head_models", lambda *_, **__: HeadModels({}, {}, (), 0.0, 0))
    artifacts = Artifacts(tmp_path / "artifacts")
    path = tmp_path / "talk.mp4"
    path.write_bytes(b"talk")
    video = record_of(path)
    write_videos(artifacts.videos, [video], [])
    write_rejects(artifacts.tracks, [])
    files = ResultCache(artifacts.tracks / VIDEOS_DIRECTORY, SUFFIX)
    files.write("key", encode_track(VideoPart(video), Rejected(video.name, RejectReason.NO_FACE)))
    return video


def test_tracks_of_another_recipe(fails, tmp_path, tracked):
    other = dataclasses.replace(tracked, video_id="fedcba9876543210", name="other.mp4")
    write_videos(tmp_path / "artifacts" / "videos", [other], [])
    assert "run the stage track" in fails(shards)


def test_a_video_without_tracks(fails, tmp_path, tracked):
    other = dataclasses.replace(tracked, video_id="fedcba9876543210", name="other.mp4")
    write_videos(tmp_path / "artifacts" / "videos", [tracked, other], [])
    line = fails(shards)
    assert "1 videos have no track file ('other.mp4'" in line
    assert "run the stage track" in line
    write_rejects(tmp_path / "artifacts" / "tracks", [Rejected("other.mp4", RejectReason.MISSING_FILE)])
    assert "none of 0 clips has samples" in fails(shards)  # it is accounted for


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_a_table_of_clips_that_the_evaluation_cannot_read(fails, tmp_path, tracked, monkeypatch, damage):
    monkeypatch.setattr(evaluate, "run_stage", lambda *_, **__: pytest.fail("scored before its tables were read"))
    monkeypatch.setattr(evaluate, "require", lambda name: tmp_path / name)
    artifacts = Artifacts(tmp_path / "artifacts")
    write_talking_shards(artifacts.shards, [make_talking_clip("00000000000000aa-f000000", split=Split.TEST)])
    write_rejects(artifacts.shards, [])
    if damage == "damaged":
        (artifacts.tracks / "clips.parquet").write_bytes(b"PAR1")
    assert str(artifacts.tracks / "clips.parquet") in fails(evaluate)


def test_a_model_file_that_was_never_fetched(fails, tmp_path, monkeypatch):
    monkeypatch.setenv("MGGTALK_CACHE", str(tmp_path / "cache"))
    write_videos(Artifacts(tmp_path / "artifacts").videos, [], [])
    assert "mggtalk models fetch face_landmarker" in fails(track)


def test_a_model_file_with_the_wrong_hash(fails, tmp_path, monkeypatch):
    monkeypatch.setenv("MGGTALK_CACHE", str(tmp_path / "cache"))
    write_videos(Artifacts(tmp_path / "artifacts").videos, [], [])
    path = find("face_landmarker").path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not the model")
    line = fails(track)
    assert "SHA-256" in line
    assert str(path) in line
