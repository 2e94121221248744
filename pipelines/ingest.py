"""Stage `ingest`: turns a recipe into the table of videos; see `mggtalk.stages.ingest`."""

import sys
from pathlib import Path

from mggtalk.params import load_group
from mggtalk.runtime.cached_run import run_cached
from mggtalk.runtime.progress import counted
from mggtalk.runtime.stage_command import StageArguments, stage_main
from mggtalk.stages.ingest.config import IngestConfig
from mggtalk.stages.ingest.definition import IngestDefinition, media_folder
from mggtalk.stages.ingest.download import fetch_media, to_download
from mggtalk.stages.ingest.recipes.reader import load_items


def run(arguments: StageArguments) -> None:
    """Fetch and probe every input of the recipe; fetch and probe nothing twice.

    Raises:
        RecipeError: the recipe cannot be used. StageError: no input is a usable video.
    """
    config, artifacts = load_group(arguments.params, "ingest", IngestConfig), arguments.artifacts
    items = load_items(Path(config.recipe), media_folder(artifacts.videos))
    missing = to_download(items)
    fetched = fetch_media(missing, artifacts.staging("ingest") / "downloads")
    counted_files = counted(fetched, "ingest: download", len(missing), "file")
    failed = {path: rejected for path, rejected in counted_files if rejected}
    run_cached(IngestDefinition(config, artifacts, items, failed))


if __name__ == "__main__":
    sys.exit(stage_main(run, __doc__))
