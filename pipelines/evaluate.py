"""Stage `evaluate`: scores the predictor on held-out clips; see `mggtalk.evaluation` and docs/evaluation.md."""

import sys

from mggtalk.errors import run_main
from mggtalk.evaluation.config import EvaluateConfig
from mggtalk.evaluation.results import ClipResult
from mggtalk.evaluation.run import EvaluationRun, clips_to_score
from mggtalk.params import load_group
from mggtalk.records import Rejected
from mggtalk.runtime.stage_command import (
    StageArguments,
    add_shards_argument,
    shards_location,
    stage_arguments,
    stage_parser,
    start_logging,
)
from mggtalk.runtime.stage_counts import counts_before
from mggtalk.runtime.stage_runner import run_stage
from mggtalk.weights.table import require


def run(arguments: StageArguments, shards_url: str | None = None) -> None:
    """Score every clip of the split, and write metrics, plots and the report.

    Args:
        shards_url: reads the shards from there (see `mggtalk.open_shards`), not from the artifacts. Then the stages
            before are not needed, only the model, and the report does not say what they left out.

    Raises:
        StageError: there is no model, a table of a stage before is missing or damaged, or no clip could be scored.
    """
    settings = load_group(arguments.params, "evaluate", EvaluateConfig)
    parameters, artifacts = arguments.params.resolved(), arguments.artifacts
    location = shards_location(artifacts, shards_url)
    clips = clips_to_score(settings, location)
    # Missing tables, weights and models show before anything is scored.
    before = [] if shards_url else counts_before(artifacts)
    evaluation = EvaluationRun(settings, location, artifacts.model, require("face_landmarker"))
    evaluation.reenactor()
    outcomes: list[ClipResult | Rejected] = []
    run_stage(
        evaluation.worker,
        clips,
        name="evaluate",
        key_of=lambda clip: clip.clip_id,
        on_result=lambda _, outcome: outcomes.extend(outcome),
        unit="clip",
        amount_of=evaluation.num_drivers,
    )
    evaluation.write(artifacts, len(clips), outcomes, before, parameters)


def main() -> int:
    """Run the stage on the process's command line and return its exit code."""
    parser = stage_parser(__doc__ or "")
    add_shards_argument(parser)
    options = parser.parse_args()
    start_logging()
    return run_main(lambda: run(stage_arguments(options), options.shards))


if __name__ == "__main__":
    sys.exit(main())
