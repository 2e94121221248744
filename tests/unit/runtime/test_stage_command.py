"""The command line that every stage has."""

import pytest

from mggtalk.params import load_group
from mggtalk.runtime.stage_command import StageArguments, stage_main
from mggtalk.training.config import TrainConfig


@pytest.fixture
def run(tmp_path):
    """Run a stage that does nothing but read its group; return the exit code and what it read."""
    (tmp_path / "params.yaml").write_text("train: {steps: 3}\n")

    def run_stage(*arguments: str) -> tuple[int, list[TrainConfig]]:
        seen: list[TrainConfig] = []

        def stage(given: StageArguments) -> None:
            seen.append(load_group(given.params, "train", TrainConfig))

        paths = ["--params", str(tmp_path / "params.yaml"), "--artifacts", str(tmp_path / "artifacts")]
        return stage_main(stage, "", [*paths, *arguments]), seen

    return run_stage


def test_overrides_come_over_the_file(run):
    code, (settings,) = run("-S", "train.seed=5", "--set", "train.loss.ssim=0.5", "-S", "track.fps=10")
    assert code == 0
    assert (settings.steps, settings.seed, settings.loss.ssim) == (3, 5, 0.5)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.stesp=5", "unknown key 'train.stesp'"),
        ("track.fsp=5", "unknown key 'track.fsp'"),
        ("train.ema_decay=2", "train.ema_decay: "),
        ("train.average_decay=0.9", "'train.average_decay' has become 'train.ema_decay'"),
        ("train.steps", "expected KEY=VALUE"),
    ],
)
def test_a_wrong_override_ends_the_stage_and_is_named(run, override, message, capsys):
    code, seen = run("-S", override)
    assert (code, seen) == (2, [])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
