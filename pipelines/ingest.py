"""Stage `ingest`: turns a recipe into the table of videos; see `mggtalk.stages.ingest`."""

import sys
from collections.abc import Iterable
from pathlib import Path

from mggtalk.params import load_group
from mggtalk.records import Rejected
from mggtalk.runtime.cached_run import run_cached
from mggtalk.runtime.progress import Progress
from mggtalk.runtime.stage_command import StageArguments, stage_main
from mggtalk.stages.ingest.config import IngestConfig
from mggtalk.stages.ingest.definition import IngestDefinition, media_folder
from mggtalk.stages.ingest.download import fetch_media, to_download
from mggtalk.stages.ingest.items import IngestItem
from mggtalk.stages.ingest.recipes.reader import load_items


def run(arguments: StageArguments) -> None:
    """Fetch and probe every input of the recipe; fetch and probe nothing twice.

    Raises:
        RecipeError: the recipe cannot be used. StageError: no input is a usable video.
    """
    config, artifacts = load_group(arguments.params, "ingest", IngestConfig), arguments.artifacts
    items = load_items(Path(config.recipe), media_folder(artifacts.videos))
    failed = _fetch(items, artifacts.staging("ingest") / "downloads")
    run_cached(IngestDefinition(config, artifacts, items, failed))


def _fetch(items: Iterable[IngestItem], parts: Path) -> dict[str, Rejected]:
    """Fetch what is not there yet, and return the rejections of what could not be fetched, by path."""
    missing = to_download(items)
    failed: dict[str, Rejected] = {}
    with Progress("ingest: download", len(missing), "file") as progress:
        for path, rejected in fetch_media(missing, parts):
            if rejected:
                failed[path] = rejected
            progress.advance()
    return failed


if __name__ == "__main__":
    sys.exit(stage_main(run, __doc__))
