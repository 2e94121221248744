"""Where parameters come from: defaults of the classes, bases, the params file, the command line."""

import re

import pytest
import yaml

from mggtalk.config import field_docs, plain_values
from mggtalk.errors import ParamsError
from mggtalk.params import GROUPS, RENAMED, Params, config_class, load_group, overridden, parse_override
from mggtalk.stages.ingest.config import IngestConfig
from mggtalk.training.config import TrainConfig
from scripts.update_params_yaml import written
from tests.support.paths import ROOT


@pytest.fixture
def write(tmp_path):
    """Write a params file and return its path."""

    def write_file(name, text):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write_file


def fault(path, *overrides):
    """The message that loading gives."""
    with pytest.raises(ParamsError) as caught:
        Params.load(path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_params_yaml_states_every_default():
    assert (ROOT / "params.yaml").read_text() == written(), "run `python -m scripts.update_params_yaml`"
    assert yaml.safe_load(written()) == {name: plain_values(config_class(name)()) for name in GROUPS}


@pytest.mark.parametrize("group", GROUPS)
def test_every_key_has_a_default_and_one_line_that_says_what_it_means(group):
    config_class(group)()
    for key, doc in field_docs(config_class(group)).items():
        assert re.fullmatch(r"[A-Z0-9].{5,110}\.", doc), f"{group}.{key}: {doc!r}"


def test_a_file_states_only_what_differs(write):
    params = Params.load(write("params.yaml", "train: {steps: 3, loss: {ssim: 0.5}}\n"))
    settings = params.group("train", TrainConfig)
    assert (settings.steps, settings.loss.ssim) == (3, 0.5)
    assert (settings.batch_size, settings.loss.alpha) == (TrainConfig().batch_size, TrainConfig().loss.alpha)
    assert params.group("ingest", IngestConfig) == IngestConfig()
    assert load_group(params, "ingest", IngestConfig) == load_group(params.path, "ingest", IngestConfig)


def test_a_base_is_relative_to_its_file_and_merges_deeply(write, tmp_path):
    write("params.yaml", "train: {steps: 3, seed: 5, loss: {ssim: 0.5, mse: 1.0}}\ningest: {recipe: a}\n")
    write("more/middle.yaml", "base: ../params.yaml\ntrain: {seed: 6, loss: {mse: 2.0}}\n")
    path = write("more/top.yaml", "base: middle.yaml\ntrain: {loss: {mse: 3.0}}\n")
    params = Params.load(path)
    settings = params.group("train", TrainConfig)
    assert (settings.steps, settings.seed, settings.loss.ssim, settings.loss.mse) == (3, 6, 0.5, 3.0)
    assert params.group("ingest", IngestConfig).recipe == "a"
    origins = {key: params.origin(f"train.{key}") for key in ("steps", "seed", "loss.mse", "loss.ssim", "workers")}
    assert origins == {
        "steps": f"{tmp_path}/params.yaml",
        "seed": f"{tmp_path}/more/middle.yaml",
        "loss.mse": f"{tmp_path}/more/top.yaml",
        "loss.ssim": f"{tmp_path}/params.yaml",
        "workers": "default",
    }


def test_a_value_that_is_no_group_replaces_a_group_and_is_refused_as_such(write):
    write("params.yaml", "train: {loss: {ssim: 0.5}}\n")
    params = Params.load(write("top.yaml", "base: params.yaml\ntrain: {loss: 5}\n"))
    with pytest.raises(ParamsError, match=r"top\.yaml: train\.loss: .*got 5"):
        params.group("train", TrainConfig)


def test_a_base_that_is_missing_or_no_path_or_leads_in_a_circle_is_named(write):
    path = write("top.yaml", "base: nowhere.yaml\n")
    assert re.search(r"top\.yaml: base: .*nowhere\.yaml: no such file", fault(path))
    for wrong in ("5", "[a.yaml]", "''"):
        assert re.search(r"top\.yaml: base: ", fault(write("top.yaml", f"base: {wrong}\n")))
    write("a.yaml", "base: b.yaml\n")
    path = write("b.yaml", "base: ./a.yaml\n")
    assert re.search(r"a\.yaml: base: a cycle: \S*b\.yaml -> \S*a\.yaml -> \S*b\.yaml$", fault(path))
    assert "a cycle" in fault(write("own.yaml", "base: own.yaml\n"))
    write("a.yaml", "- no mapping\n")
    assert "a.yaml: expected a mapping" in fault(path)


def test_the_file_for_256_px_states_only_what_differs_from_params_yaml():
    stated = yaml.safe_load((ROOT / "configs" / "256px.yaml").read_text())
    assert stated.pop("base") == "../params.yaml"
    base = Params.load(ROOT / "params.yaml").resolved()
    over = Params.load(ROOT / "configs" / "256px.yaml").resolved()
    assert _differences(over, base) == stated


def _differences(over, base):
    pairs = {key: (value, base[key]) for key, value in over.items() if value != base[key]}
    return {
        key: _differences(value, under) if isinstance(value, dict) else value for key, (value, under) in pairs.items()
    }


def test_the_command_line_comes_last(write):
    path = write("params.yaml", "train: {steps: 3, loss: {ssim: 0.5, mse: 1.0}}\n")
    params = Params.load(path, ["train.steps=9", "train.loss={mse: 2}", "train.model.voxel_size_cm=2e-1"])
    settings = params.group("train", TrainConfig)
    assert (settings.steps, settings.loss.ssim, settings.loss.mse) == (9, 0.5, 2.0)
    assert settings.model.voxel_size_cm == 0.2
    assert [params.origin(f"train.{key}") for key in ("steps", "loss.mse", "model.voxel_size_cm")] == ["-S"] * 3
    assert params.origin("train.loss.ssim") == str(path)
    assert Params.load(path, ["train.steps=9", "train.steps=8"]).group("train", TrainConfig).steps == 8


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.stesp=3", "unknown key 'train.stesp'; did you mean 'train.steps'?"),
        ("trian.steps=3", "unknown key 'trian.steps'"),
        ("train.loss.sism=3", "unknown key 'train.loss.sism'; did you mean 'train.loss.ssim'?"),
        ("steps=3", "unknown key 'steps'"),
        ("base=other.yaml", "unknown key 'base'"),
        ("train.ema_share=3", "unknown key 'train.ema_share'"),
        ("train.steps", "expected KEY=VALUE"),
    ],
)
def test_an_override_that_no_stage_knows_is_named_even_if_the_stage_reads_another_group(write, override, message):
    assert message in fault(write("params.yaml", "ingest: {}\n"), override)


def test_numbers_may_have_an_exponent_without_a_dot():
    assert parse_override("train.learning_rate=1e-3") == ("train.learning_rate", 0.001)
    assert parse_override("a=2E5") == ("a", 200_000.0)
    assert parse_override("a=1e-3x") == ("a", "1e-3x")
    assert parse_override("a='1e-3'") == ("a", "1e-3")


def test_a_change_leaves_the_original_alone_and_is_named_in_messages(write):
    params = Params.load(write("params.yaml", "train: {steps: 3}\n"))
    changed = params.changed({"train.steps": 0}, "variant x")
    assert params.group("train", TrainConfig).steps == 3
    with pytest.raises(ParamsError, match=r"params\.yaml, variant x: train\.steps: .*got 0"):
        changed.group("train", TrainConfig)


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_old_name_is_refused_with_the_new_one_which_exists(write, old, new):
    known = [f"{group}.{key}" for group in GROUPS for key in field_docs(config_class(group))]
    assert new in known
    assert old not in known
    path = write("params.yaml", yaml.safe_dump(overridden({}, {old: 1})))
    expected = f"{old!r} has become {new!r}"
    assert fault(path) == f"{path}: {expected}"
    assert fault(write("top.yaml", "base: params.yaml\n")) == f"{path}: {expected}"
    assert fault(write("empty.yaml", "{}\n"), f"{old}=1") == f"override: {expected}"


def test_all_values_are_resolved_and_all_groups_checked(write):
    params = Params.load(write("params.yaml", "train: {steps: 3}\nevaluate: {split: val}\n"))
    expected = {name: plain_values(config_class(name)()) for name in GROUPS}
    expected["train"]["steps"] = 3
    expected["evaluate"]["split"] = "val"
    assert params.resolved() == expected
    wrong = Params.load(write("params.yaml", "train: {stesp: 3}\n"))
    with pytest.raises(ParamsError, match=r"params\.yaml: train: unknown key 'stesp'"):
        wrong.resolved()
    wrong = Params.load(write("params.yaml", "trian: {steps: 3}\n"))
    with pytest.raises(ParamsError, match=r"params\.yaml: unknown key 'trian'"):
        wrong.resolved()
