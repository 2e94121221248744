"""Stage `train`: turns shards into a predictor; see `mggtalk.training.loop`."""

import sys

from mggtalk.errors import run_main
from mggtalk.params import load_group
from mggtalk.runtime.stage_command import (
    StageArguments,
    add_training_arguments,
    shards_location,
    stage_arguments,
    stage_parser,
    start_logging,
)
from mggtalk.runtime.train_runner import Launcher
from mggtalk.runtime.training_session import run_logged
from mggtalk.training.config import TrainConfig
from mggtalk.training.run import plan_run


def run(arguments: StageArguments, launcher: Launcher, shards_url: str | None = None) -> None:
    """Train on the split `train`, and write the model and the metrics of the training.

    Args:
        shards_url: reads the shards from there (see `mggtalk.open_shards`), not from the artifacts.

    Raises:
        StageError, ShardError, WeightsError: as `plan_run`.
    """
    settings = load_group(arguments.params, "train", TrainConfig)
    location = shards_location(arguments.artifacts, shards_url)
    run_logged(plan_run(settings, location, arguments.artifacts), arguments.artifacts, launcher)


def main() -> int:
    """Run the stage on the process's command line and return its exit code."""
    parser = stage_parser(__doc__ or "")
    add_training_arguments(parser)
    options = parser.parse_args()
    start_logging()
    return run_main(lambda: run(stage_arguments(options), options.launcher, options.shards))


if __name__ == "__main__":
    sys.exit(main())
