"""Training as a stage: its metrics are kept whatever the order of reports, and it is done only if they are there."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from mggtalk.records import Split
from pipelines import train
from pipelines.arguments import Artifacts, StageArguments
from tests.synthetic_head import make_talking_clip, write_talking_shards

ROOT = Path(__file__).parents[2]
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
        "augment": {"color": 0.1, "mirror": False},
    } | STEPS
    params["train"]["model"] |= MODEL
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    threads = torch.get_num_threads()
    yield StageArguments(tmp_path / "params.yaml", artifacts)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


def steps_of(arguments: StageArguments, name: str) -> list[str]:
    table = arguments.artifacts.training / "plots" / "metrics" / f"{name}.tsv"
    return [row.split("\t")[0] for row in table.read_text().splitlines()[1:]]


def test_validation_may_come_before_the_first_loss_and_lost_metrics_are_made_again(arguments, caplog):
    train.run(arguments, "local")
    assert steps_of(arguments, "val/psnr_head") == ["2", "4"]
    assert steps_of(arguments, "loss/total") == ["3", "4"]
    table = arguments.artifacts.training / "plots/metrics/loss/total.tsv"
    before = table.stat().st_mtime_ns
    train.run(arguments, "local")
    assert table.stat().st_mtime_ns == before  # done before
    shutil.rmtree(arguments.artifacts.training)
    train.run(arguments, "local")
    assert "the metrics of the run are gone; training anew" in caplog.text
    assert steps_of(arguments, "loss/total") == ["3", "4"]
