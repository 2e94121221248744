"""Training as a stage: its metrics are kept whatever the order of reports, and it is done only if they are there."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from mggtalk.artifacts import Artifacts
from mggtalk.params import Params
from mggtalk.records import Split
from mggtalk.runtime.stage_command import StageArguments
from mggtalk.weights.hub_models import folder_digest
from pipelines import train
from tests.support.paths import ROOT
from tests.support.synthetic_head import make_talking_clip, write_talking_shards
from tests.support.tiny_networks import save_feature_network

MODEL = {"expression_size": 2, "resolution": 32, "unet_channels": 4, "feature_channels": 8, "hidden_channels": 16}
STEPS = {"steps": 4, "log_every": 3, "validate_every": 2, "validation_pairs": 1, "checkpoint_every": 2}


@pytest.fixture
def arguments(tmp_path: Path) -> Any:
    """A small data set, and parameters that validate before the first loss is logged."""
    clips = [
        make_talking_clip(f"{split.value[0].encode().hex():0>16}-f000000", num_frames=2, split=split)
        for split in (Split.TRAIN, Split.VAL)
    ]
    artifacts = Artifacts(tmp_path / "artifacts")
    write_talking_shards(artifacts.shards, clips)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["train"] |= {
        "workers": 1,
        "batch_size": 2,
        "track_pairs": 2,
        "augment": params["train"]["augment"] | {"mirror": False},
    } | STEPS
    params["train"]["model"] |= MODEL
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    threads = torch.get_num_threads()
    yield StageArguments(Params.load(tmp_path / "params.yaml"), artifacts)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


def steps_of(arguments: StageArguments, name: str) -> list[str]:
    table = arguments.artifacts.training / "plots" / "metrics" / f"{name}.tsv"
    return [row.split("\t")[0] for row in table.read_text().splitlines()[1:]]


def pictures_of(arguments: StageArguments) -> dict[str, bytes]:
    folder = arguments.artifacts.training / "plots" / "images" / "val" / "pairs"
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def with_loss(arguments: StageArguments, **values: Any) -> StageArguments:
    changes = {f"train.loss.{name}": value for name, value in values.items()}
    return replace(arguments, params=arguments.params.changed(changes))


def test_validation_may_come_before_the_first_loss_and_lost_metrics_are_made_again(arguments, caplog):
    train.run(arguments, "local")
    assert steps_of(arguments, "val/psnr_head") == ["2", "4"]
    assert steps_of(arguments, "loss/total") == ["3", "4"]
    pictures = pictures_of(arguments)
    assert list(pictures) == ["000002.jpg", "000004.jpg"]
    table = arguments.artifacts.training / "plots/metrics/loss/total.tsv"
    before = table.stat().st_mtime_ns
    train.run(arguments, "local")
    assert table.stat().st_mtime_ns == before  # done before
    shutil.rmtree(arguments.artifacts.training)
    train.run(arguments, "local")
    assert "the metrics of the run are gone; training anew" in caplog.text
    assert steps_of(arguments, "loss/total") == ["3", "4"]
    assert pictures_of(arguments) == pictures


def test_a_missing_network_ends_the_command_before_anything_is_lost(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MGGTALK_CACHE", str(tmp_path / "cache"))
    before = arguments.artifacts.training / "metrics.json"
    before.parent.mkdir()
    before.write_text("{}")
    argv = ["train", "--launcher", "local", "--params", str(arguments.params), "-S", "train.loss.perceptual=0.01"]
    monkeypatch.setattr("sys.argv", [*argv, "--artifacts", str(arguments.artifacts.root)])
    assert train.main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: train.loss.perceptual_network: model 'resnet_18' is missing")
    assert line.endswith("run `mggtalk models fetch resnet_18`")
    assert before.read_text() == "{}"
    assert not arguments.artifacts.model.exists()


def test_other_weights_of_the_perceptual_network_are_another_run(arguments, tmp_path):
    network = save_feature_network(tmp_path / "resnet")
    arguments = with_loss(arguments, perceptual=0.1, perceptual_network=str(network))
    checkpoints = []
    for seed in (0, 0, 1):
        save_feature_network(network, seed)
        train.run(arguments, "local")
        assert steps_of(arguments, "loss/perceptual") == ["3", "4"]
        checkpoints += [path.name for path in arguments.artifacts.staging("train").iterdir()]
        origin = json.loads((arguments.artifacts.model / "config.json").read_text())["training"]
        assert origin["perceptual_network"] == folder_digest(network)
    assert checkpoints[0] == checkpoints[1] != checkpoints[2]
