"""`dvc.yaml` tells the truth: what a stage imports and reads is among its dependencies and parameters."""

import dataclasses
from importlib.util import find_spec
from typing import Any

import pytest
import yaml

from mggtalk.evaluation.config import EvaluateConfig
from mggtalk.params import load_group
from mggtalk.stages.ingest.config import IngestConfig
from mggtalk.stages.shards.config import ShardsConfig
from mggtalk.stages.track.config import TrackConfig
from mggtalk.training.config import TrainConfig
from scripts.update_dvc_yaml import updated
from tests.support.dvc_contract import output_paths, params_groups, uncovered
from tests.support.paths import ROOT

DEFINITION: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES: dict[str, dict[str, Any]] = DEFINITION["stages"]
PARAMS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
CONFIGS: dict[str, type[Any]] = {
    "ingest": IngestConfig,
    "track": TrackConfig,
    "shards": ShardsConfig,
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
}

each_stage = pytest.mark.parametrize("stage", STAGES)


def test_the_stages_are_those_of_the_design_and_the_file_holds_nothing_else():
    assert list(STAGES) == list(CONFIGS)
    assert set(DEFINITION) == {"stages"}


@each_stage
def test_the_command_is_the_stage_s_module_and_nothing_more(stage):
    assert STAGES[stage]["cmd"] == f"python -m pipelines.{stage}"
    assert find_spec(f"pipelines.{stage}") is not None


@each_stage
def test_deps_cover_every_import_inside_the_project_and_the_data_beside_it(stage):
    assert uncovered(f"pipelines.{stage}", STAGES[stage]["deps"], ROOT) == []


@each_stage
def test_deps_that_are_files_of_the_project_exist(stage):
    own = [dep for dep in STAGES[stage]["deps"] if not dep.startswith(("artifacts/", "${"))]
    assert [dep for dep in own if not (ROOT / dep).exists()] == []


def test_the_dependencies_are_those_that_the_script_writes():
    text = (ROOT / "dvc.yaml").read_text()
    assert updated(text) == text, "run `python -m scripts.update_dvc_yaml`"


@pytest.mark.parametrize("missing", ["mggtalk/geometry/head", "mggtalk/errors.py", "mggtalk/stages/track/stage.py"])
def test_the_check_and_the_script_see_a_missing_dependency(missing):
    deps = [dep for dep in STAGES["track"]["deps"] if dep != missing]
    assert len(deps) == len(STAGES["track"]["deps"]) - 1
    found = uncovered("pipelines.track", deps, ROOT)
    assert found
    assert all(name.startswith(missing) for name in found)
    text = (ROOT / "dvc.yaml").read_text()
    assert updated(text.replace(f"      - {missing}\n", "")) == text


def test_the_check_sees_a_missing_data_file():
    head = [f"mggtalk/geometry/head/{path.name}" for path in (ROOT / "mggtalk/geometry/head").glob("*.py")]
    deps = [*(dep for dep in STAGES["track"]["deps"] if dep != "mggtalk/geometry/head"), *head]
    found = uncovered("pipelines.track", deps, ROOT)
    assert found == ["mggtalk/geometry/head/ibug_68.json", "mggtalk/geometry/head/mediapipe_478.json"]


@each_stage
def test_params_are_the_groups_that_the_module_reads(stage):
    groups = params_groups((ROOT / "pipelines" / f"{stage}.py").read_text())
    assert stage in groups
    assert set(STAGES[stage]["params"]) == (set(STAGES) if "*" in groups else groups)


@each_stage
def test_the_params_group_has_exactly_the_fields_of_its_class(stage):
    loaded = load_group(ROOT / "params.yaml", stage, CONFIGS[stage])
    # Every field has a default and could be left out; written out, it is tracked and can be found.
    assert _key_tree(dataclasses.asdict(loaded)) == _key_tree(PARAMS[stage])


@each_stage
def test_what_a_stage_reads_from_artifacts_another_stage_writes(stage):
    written = {path for other in STAGES.values() for path in output_paths(other)}
    read = {dep for dep in STAGES[stage]["deps"] if dep.startswith("artifacts/")}
    assert read <= written
    assert not read & output_paths(STAGES[stage])


def test_large_outputs_persist_so_that_a_rerun_can_go_on_from_them():
    persistent = {
        path
        for stage in STAGES.values()
        for entry in [*stage["outs"], *stage.get("plots", [])]
        if isinstance(entry, dict)
        for path, options in entry.items()
        if options.get("persist")
    }
    assert {f"artifacts/{name}" for name in ("videos", "tracks", "shards", "model")} <= persistent


def _key_tree(mapping: dict[str, Any]) -> dict[str, Any]:
    return {key: _key_tree(value) if isinstance(value, dict) else None for key, value in sorted(mapping.items())}
