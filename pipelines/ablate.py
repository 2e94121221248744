"""Trains and evaluates the full method and its variants, and tabulates them; see `mggtalk.runtime.ablation`."""

import argparse
import sys

from mggtalk.errors import run_main
from mggtalk.evaluation.ablation import VARIANTS
from mggtalk.runtime import ablation
from mggtalk.runtime.stage_command import (
    StageArguments,
    add_training_arguments,
    stage_arguments,
    stage_parser,
    start_logging,
)
from pipelines import train


def run(arguments: StageArguments, options: ablation.AblateOptions) -> None:
    """Train, evaluate and tabulate; raise as `ablation.run`."""
    ablation.run(arguments, options, train.run, ablation.EvaluateStage("pipelines.evaluate"))


def main() -> int:
    """Run the ablation on the process's command line and return its exit code."""
    parser = stage_parser(__doc__ or "")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    names = ", ".join(variant.name for variant in VARIANTS)
    parser.add_argument("--variants", default="", metavar="NAME,...", help=f"some of {names}; default: all")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--train-only", action="store_true", help="leave the models, evaluate nothing")
    only.add_argument("--evaluate-only", action="store_true", help="of models that lie there, trained elsewhere")
    add_training_arguments(parser)
    options = parser.parse_args()
    start_logging()
    return run_main(
        lambda: run(
            stage_arguments(options),
            ablation.AblateOptions(
                names=tuple(filter(None, options.variants.split(","))),
                trains=not options.evaluate_only,
                evaluates=not options.train_only,
                launcher=options.launcher,
                shards_url=options.shards,
            ),
        )
    )


if __name__ == "__main__":
    sys.exit(main())
