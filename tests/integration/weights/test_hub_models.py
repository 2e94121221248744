import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mggtalk.errors import WeightsError
from mggtalk.weights.hub_models import FILES, LOCK_FILE, HubModel, folder_digest
from mggtalk.weights.table import MODELS, Model, ModelStatus, fetch, model_hash, require, resolve, status
from tests.support.distributions import sha256
from tests.support.hub_server import LARGE, REPOSITORY, HubServer, running_hub

COMMIT, LATER = "a" * 40, "b" * 40
CONTENT = {"config.json": b"{}", LARGE: b"weights" * 50_000, "preprocessor_config.json": b'{"size": 2}'}


@pytest.fixture
def hub() -> Iterator[HubServer]:
    pickle = {"pytorch_model.bin": b"pickle"}
    with running_hub({COMMIT: {**CONTENT, **pickle}, LATER: {**CONTENT, "config.json": b'{"a": 1}'}}) as server:
        yield server


def table(hub: HubServer, repository: str = REPOSITORY, revision: str = "main") -> dict[str, Model]:
    return {"ear": HubModel("ear", repository, revision, "MIT", "hears", endpoint=hub.url)}


def test_fetch_takes_three_files_of_the_commit_behind_the_revision_and_writes_down_what_came(
    hub: HubServer, cache: Path
) -> None:
    models = table(hub)
    folder = fetch("ear", models)
    assert folder == require("ear", models) == cache / "models" / "hub" / "ear"
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name in CONTENT} == CONTENT
    assert not (folder / "pytorch_model.bin").exists()
    assert json.loads((folder / LOCK_FILE).read_bytes()) == {
        "repository": REPOSITORY,
        "revision": "main",
        "commit": COMMIT,
        "files": {name: sha256(content) for name, content in CONTENT.items()},
    }
    assert models["ear"].size_bytes == sum(map(len, CONTENT.values()))


def test_what_is_there_is_not_asked_for_again(hub: HubServer) -> None:
    models = table(hub)
    fetch("ear", models)
    hub.requests.clear()
    fetch("ear", models)
    require("ear", models)
    assert status("ear", models) is ModelStatus.PRESENT
    assert hub.requests == []


def test_require_says_how_to_get_a_missing_model_and_does_not_get_it(hub: HubServer, cache: Path) -> None:
    models = table(hub)
    for ask in (require, model_hash):
        with pytest.raises(WeightsError, match=r"'ear' is missing: .*run `mggtalk models fetch ear`"):
            ask("ear", models)
    assert status("ear", models) is ModelStatus.MISSING
    assert models["ear"].size_bytes is None
    assert hub.requests == []
    assert not cache.exists()


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_was_changed_after_fetch_is_refused_and_had_again_from_the_same_commit(
    hub: HubServer, name: str
) -> None:
    models = table(hub)
    folder = fetch("ear", models)
    (folder / name).write_bytes(b"changed")
    hub.branches["main"] = LATER
    message = f"'ear' is damaged: {folder / name} has SHA-256 {sha256(b'changed')}, expected {sha256(CONTENT[name])}"
    with pytest.raises(WeightsError, match=message):
        require("ear", models)
    assert status("ear", models) is ModelStatus.DAMAGED
    fetch("ear", models)
    assert require("ear", models).joinpath(name).read_bytes() == CONTENT[name]
    assert json.loads((folder / LOCK_FILE).read_bytes())["commit"] == COMMIT


def test_a_file_that_has_gone_is_had_again(hub: HubServer) -> None:
    models = table(hub)
    (fetch("ear", models) / LARGE).unlink()
    with pytest.raises(WeightsError, match="has SHA-256 none: no such file"):
        require("ear", models)
    fetch("ear", models)
    require("ear", models)


@pytest.mark.parametrize("lock", [b"{", b"[]", b'{"repository": "a/b"}'])
def test_a_damaged_lock_file_is_refused_and_the_model_fetched_anew(hub: HubServer, lock: bytes) -> None:
    models = table(hub)
    (fetch("ear", models) / LOCK_FILE).write_bytes(lock)
    with pytest.raises(WeightsError, match=r"lock\.json is damaged"):
        require("ear", models)
    hub.branches["main"] = LATER
    fetch("ear", models)
    assert json.loads((require("ear", models) / LOCK_FILE).read_bytes())["commit"] == LATER


def test_another_revision_in_the_table_asks_for_another_download(hub: HubServer) -> None:
    fetch("ear", table(hub))
    later = table(hub, revision=LATER)
    with pytest.raises(WeightsError, match=f"is of .*'main'.*expected .*{LATER}"):
        require("ear", later)
    assert (fetch("ear", later) / "config.json").read_bytes() == b'{"a": 1}'


def test_a_download_that_broke_off_goes_on_where_it_stopped(hub: HubServer) -> None:
    chunk = 10 << 20  # what the client writes at a time
    hub.commits[COMMIT][LARGE] = content = bytes(chunk + 9_000)
    hub.cut_after = chunk + 5_000
    models = table(hub)
    fetch("ear", models)
    assert (require("ear", models) / LARGE).read_bytes() == content
    assert hub.ranges == [None, f"bytes={chunk}-"]


def test_a_large_file_that_is_not_what_the_hub_states_is_not_kept(hub: HubServer) -> None:
    hub.stated_sha256 = "0" * 64
    models = table(hub)
    with pytest.raises(WeightsError, match=f"{LARGE} has SHA-256 {sha256(CONTENT[LARGE])}, expected 0000"):
        fetch("ear", models)
    assert status("ear", models) is ModelStatus.MISSING


def test_the_hub_s_refusals_are_errors_that_name_the_repository(hub: HubServer) -> None:
    with pytest.raises(WeightsError, match="nobody/nothing, revision main: the hub did not give it"):
        fetch("ear", table(hub, repository="nobody/nothing"))
    with pytest.raises(WeightsError, match="somebody/model, revision spring: the hub did not give it"):
        fetch("ear", table(hub, revision="spring"))
    del hub.commits[COMMIT][LARGE]
    with pytest.raises(WeightsError, match=r"somebody/model: the hub did not give model\.safetensors"):
        fetch("ear", table(hub))


def test_a_hub_that_does_not_answer_is_an_error(hub: HubServer) -> None:
    model = HubModel("ear", REPOSITORY, "main", "MIT", "hears", endpoint="http://127.0.0.1:1")
    with pytest.raises(WeightsError, match="the hub did not give it: ConnectError"):
        fetch("ear", {"ear": model})


def test_without_the_client_the_error_says_what_to_install(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(WeightsError, match=re.escape("pip install -c constraints.txt '.[networks]'")):
        fetch("ear", table(hub))
    assert hub.requests == []


def test_the_hash_of_a_model_is_over_its_files_wherever_they_lie(hub: HubServer, tmp_path: Path) -> None:
    models = table(hub)
    folder = fetch("ear", models)
    own = tmp_path / "my-model"
    shutil.copytree(folder, own)
    (own / "README.md").write_text("does not count")
    assert model_hash("ear", models) == folder_digest(own)
    assert resolve("ear", models).path == folder
    found = resolve(str(own), models)
    assert (found.name, found.path, found.sha256) == ("my-model", own, folder_digest(own))
    (own / "config.json").write_bytes(b"[]")
    assert folder_digest(own) != model_hash("ear", models)


def test_a_folder_that_lacks_a_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b"{}")
    with pytest.raises(WeightsError, match=r"missing model\.safetensors, preprocessor_config\.json"):
        resolve(str(tmp_path))
    with pytest.raises(WeightsError, match="no folder of a model"):
        resolve(str(tmp_path / "nowhere"))


def test_a_word_that_is_neither_a_name_nor_a_path_is_answered_with_the_known_names(hub: HubServer) -> None:
    with pytest.raises(WeightsError, match=r"no network 'eye'; expected a folder .* or one of ear"):
        resolve("eye", table(hub))


def test_the_models_of_the_hub_in_the_table_are_optional() -> None:
    named = [model for model in MODELS.values() if isinstance(model, HubModel)]
    assert [model.name for model in named] == ["face_parsing", "depth_anything_v2_small", "resnet_18"]
    assert not any(model.default for model in named)
