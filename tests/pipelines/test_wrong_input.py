"""What a user can get wrong ends with exit code 2 and one line that says what to mend."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from mggtalk.registry.models import find
from mggtalk.stages.ingest import write_videos
from pipelines import evaluate, ingest, shards, track, train
from pipelines.arguments import Artifacts, stage_main

ROOT = Path(__file__).parents[2]


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
