"""Stage `track`: turns videos into clips of one face; see `mggtalk.stages.track`."""

import sys

from mggtalk.params import load_group
from mggtalk.runtime.cached_run import make_missing, run_cached
from mggtalk.runtime.stage_command import StageArguments, stage_main
from mggtalk.stages.ingest.config import IngestConfig
from mggtalk.stages.track.config import TrackConfig
from mggtalk.stages.track.definition import TrackDefinition
from mggtalk.stages.track.identity.definition import forget_identities, identity_definition


def run(arguments: StageArguments) -> None:
    """Track every video that is not tracked yet, find out who is in the clips if asked to, and write the tables.

    Raises:
        StageError: no video has a usable clip, or a library is missing. WeightsError: a model is missing.
    """
    config, tracks = load_group(arguments.params, "track", TrackConfig), arguments.artifacts.tracks
    splits = load_group(arguments.params, "ingest", IngestConfig)
    stage = TrackDefinition(config, arguments.artifacts)
    results = make_missing(stage)
    if config.identity_encoder == "none":
        forget_identities(tracks)
    else:
        run_cached(identity_definition(config, splits, tracks, stage.videos))
    stage.assemble(results)


if __name__ == "__main__":
    sys.exit(stage_main(run, __doc__))
