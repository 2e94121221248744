"""Stage `shards`: turns tracked clips into the data set; see `mggtalk.stages.shards` and docs/shards.md."""

import sys

from mggtalk.params import load_group
from mggtalk.runtime.cached_run import run_cached
from mggtalk.runtime.stage_command import StageArguments, stage_main
from mggtalk.stages.ingest.config import IngestConfig
from mggtalk.stages.shards.config import ShardsConfig
from mggtalk.stages.shards.definition import ShardsDefinition


def run(arguments: StageArguments) -> None:
    """Encode every clip that is not encoded yet, and assemble the shards.

    Raises:
        StageError: no clip has samples, or the tracks do not fit the videos. WeightsError: a model is missing.
    """
    config = load_group(arguments.params, "shards", ShardsConfig)
    ingest = load_group(arguments.params, "ingest", IngestConfig)
    run_cached(ShardsDefinition(config, ingest, arguments.artifacts))


if __name__ == "__main__":
    sys.exit(stage_main(run, __doc__))
