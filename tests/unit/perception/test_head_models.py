import json
import re
import sys
from pathlib import Path

import pytest

from mggtalk.errors import WeightsError
from mggtalk.perception.head_models import head_models
from mggtalk.weights.hub_models import FILES, folder_digest
from mggtalk.weights.table import fetch, model_hash

PARSING, DEPTH = "face_parsing", "depth_anything_v2_small"


def model_folder(folder: Path, model_type: str = "depth_anything") -> Path:
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).write_text(f"{folder.name} {name}")
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    return folder


def test_the_default_backends_need_one_model_and_look_at_no_network() -> None:
    path = fetch("selfie_segmentation")
    found = head_models("selfie", "facemesh", parsing_model="nowhere", depth_model="nowhere")
    assert found.paths == {"selfie_segmentation": path}
    assert found.hashes == {"selfie_segmentation": model_hash("selfie_segmentation")}
    assert found.seconds_per_frame == 0
    assert found.libraries == ("mediapipe", "opencv-contrib-python", "scipy", "torch")


def test_folders_of_the_user_s_own_go_under_the_parameter_and_the_name_of_the_folder(tmp_path: Path) -> None:
    own, other = model_folder(tmp_path / "mine", "segformer"), model_folder(tmp_path / "other" / "mine")
    found = head_models("segformer", "depth_anything", parsing_model=str(own), depth_model=str(other))
    assert found.paths == {"parsing_model": own, "depth_model": other}
    assert found.hashes == {"parsing_model:mine": folder_digest(own), "depth_model:mine": folder_digest(other)}
    assert "transformers" in found.libraries
    assert (
        found.seconds_per_frame
        > head_models("segformer", "facemesh", parsing_model=str(own), depth_model="").seconds_per_frame
        > 0
    )
    assert not {"mediapipe", "selfie_segmentation"} & {*found.libraries, *found.hashes}


def test_without_the_library_of_the_networks_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = model_folder(tmp_path / "mine")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(WeightsError, match=re.escape("pip install -c constraints.txt '.[networks]'")):
        head_models("segformer", "facemesh", parsing_model=str(own), depth_model="")


def test_another_file_is_another_hash(tmp_path: Path) -> None:
    fetch("selfie_segmentation")
    own = model_folder(tmp_path / "mine")
    before = head_models("selfie", "depth_anything", parsing_model="", depth_model=str(own)).hashes
    (own / "model.safetensors").write_text("trained on")
    after = head_models("selfie", "depth_anything", parsing_model="", depth_model=str(own)).hashes
    assert before.keys() == after.keys() == {"selfie_segmentation", "depth_model:mine"}
    assert before["depth_model:mine"] != after["depth_model:mine"]


@pytest.mark.parametrize(
    ("head_parsing", "depth", "name"),
    [
        ("segformer", "facemesh", PARSING),
        ("selfie", "depth_anything", DEPTH),
    ],
)
def test_a_model_that_was_not_fetched_is_an_error_that_says_how(
    head_parsing: str, depth: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fetch("selfie_segmentation")
    monkeypatch.setenv("MGGTALK_CACHE", str(tmp_path))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / path.name).symlink_to(path)
    with pytest.raises(WeightsError, match=f"run `mggtalk models fetch {name}`"):
        head_models(head_parsing, depth, parsing_model=PARSING, depth_model=DEPTH)


@pytest.mark.parametrize("wanted", ["selfie_segmentation", "nothing"])
def test_what_is_no_network_of_the_table_is_refused_by_the_name_of_the_parameter(wanted: str) -> None:
    fetch("selfie_segmentation")
    with pytest.raises(WeightsError, match=rf"shards\.depth_model: no network '{wanted}'; .* one of .*{DEPTH}"):
        head_models("selfie", "depth_anything", parsing_model="", depth_model=wanted)


def test_a_network_of_another_kind_is_refused_before_the_work_starts(tmp_path: Path) -> None:
    own = model_folder(tmp_path / "mine")
    (own / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(WeightsError, match=r"shards\.depth_model: .*model_type is 'bert', expected 'depth_anything'"):
        head_models("selfie", "depth_anything", parsing_model="", depth_model=str(own))
