"""`mggtalk params`: what holds, where it comes from, and what it means."""

import pytest
import yaml

from mggtalk.cli.main import main
from mggtalk.cli.parser import SPLITS
from mggtalk.params import GROUPS, Params
from mggtalk.records import Split


@pytest.fixture
def params(tmp_path):
    (tmp_path / "base.yaml").write_text("train: {steps: 3, loss: {ssim: 0.5}}\n")
    path = tmp_path / "params.yaml"
    path.write_text("base: base.yaml\ntrain: {seed: 7}\nevaluate: {split: val}\n")
    return path


def printed(capsys, *arguments):
    assert main(["params", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def comments(text):
    """The comment beside each value, by the name of the key."""
    pairs = [line.split(" # ") for line in text.splitlines() if " # " in line and ": " in line.split(" # ")[0]]
    return {value.split(":")[0].strip(): comment.strip() for value, comment in pairs}


def test_what_is_printed_is_yaml_and_has_every_value(params, capsys):
    text = printed(capsys, "--params", params)
    assert yaml.safe_load(text) == Params.load(params).resolved()
    assert yaml.safe_load(printed(capsys, "--params", params, "--explain")) == yaml.safe_load(text)


def test_each_value_says_where_it_comes_from(params, capsys):
    text = printed(capsys, "train", "--params", params, "-S", "train.loss.mse=2", "-S", "train.workers=1")
    assert list(yaml.safe_load(text)) == ["train"]
    found = comments(text)
    assert [found[key] for key in ("steps", "ssim")] == [str(params.parent / "base.yaml")] * 2
    assert found["seed"] == str(params)
    assert found["mse"] == found["workers"] == "-S"
    assert found["batch_size"] == "default"


def test_keys_are_explained_on_demand(params, capsys):
    lines = printed(capsys, "evaluate", "--params", params, "--explain").splitlines()
    (row,) = (number for number, line in enumerate(lines) if line.startswith("  split: val "))
    assert lines[row - 1] == "  # Split of the data set that is scored: `train`, `val` or `test`."
    assert "#" not in printed(capsys, "evaluate", "--params", params).splitlines()[0]


def test_faults_of_any_group_end_the_command(params, capsys):
    params.write_text("shards: {sizze: 3}\n")
    assert main(["params", "train", "--params", str(params)]) == 2
    assert capsys.readouterr().err == f"error: {params}: shards: unknown key 'sizze'\n"
    assert main(["params", "--params", str(params), "-S", "train.stesp=3"]) == 2
    assert "unknown key 'train.stesp'; did you mean 'train.steps'?" in capsys.readouterr().err


def test_a_group_that_there_is_not_is_wrong_usage(params, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["params", "model", "--params", str(params)])
    assert ended.value.code == 2
    assert f"choose from {', '.join(map(repr, GROUPS))}" in capsys.readouterr().err


def test_the_command_line_names_the_splits_that_there_are():
    assert list(SPLITS) == list(map(str, Split))
