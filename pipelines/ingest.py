"""Stage `ingest`: a recipe becomes the table of videos; see `mggtalk.stages.ingest`."""

import logging
import math
import sys
from functools import partial
from pathlib import Path

from mggtalk.errors import StageError
from mggtalk.params import load_group
from mggtalk.records import Rejected, VideoRecord
from mggtalk.runtime.stage_runner import run_stage
from mggtalk.stages.ingest import IngestConfig, IngestItem, IngestStage, collect, write_videos
from mggtalk.stages.recipes import load_items, prune_media
from pipelines.arguments import StageArguments, stage_main
from pipelines.isolated import file_deadline_s, isolated

_logger = logging.getLogger(__name__)


def run(arguments: StageArguments) -> None:
    """Probe every input of the recipe, and write `videos.parquet` and `rejects.parquet`.

    Media of archives that the recipe no longer names are deleted once the tables are there.

    Raises:
        StageError: no input is a usable video.
    """
    settings = load_group(arguments.params, "ingest", IngestConfig)
    directory = arguments.artifacts.videos
    items = load_items(Path(settings.recipe), directory / "media")
    results: list[VideoRecord | Rejected] = []
    run_stage(
        isolated(partial(IngestStage, settings), "name", file_deadline_s, stall_s=math.inf),  # hashing gives no signs
        items,
        name="ingest",
        key_of=_name,
        on_result=lambda _, outcome: results.extend(outcome),
    )
    outcome = collect(results)
    assert outcome.num_inputs == len(items), f"{len(items)} inputs, but {outcome.num_inputs} came out"
    write_videos(directory, outcome.videos, outcome.rejects)
    if not outcome.videos:
        raise StageError(f"ingest: none of {outcome.num_inputs} inputs is a usable video; see {directory}")
    for path in prune_media(directory / "media", items):
        _logger.info("%s: deleted, for the recipe does not name it any more", path)


def _name(item: IngestItem) -> str:
    return item.name


if __name__ == "__main__":
    sys.exit(stage_main(run, __doc__))
