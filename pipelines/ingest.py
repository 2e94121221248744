"""Stage `ingest`: a recipe becomes the table of videos; see `mggtalk.stages.ingest.stage`."""

import logging
import math
import sys
from collections.abc import Iterable
from operator import attrgetter
from pathlib import Path

from mggtalk.errors import StageError
from mggtalk.params import load_group
from mggtalk.records import Rejected
from mggtalk.runtime.isolated_stage import depends_on_machine, file_deadline_s, isolated
from mggtalk.runtime.progress import Progress
from mggtalk.runtime.stage_command import StageArguments, stage_main
from mggtalk.runtime.stage_runner import describe_counts, run_stage
from mggtalk.stages.ingest.config import IngestConfig
from mggtalk.stages.ingest.download import fetch_media, to_download
from mggtalk.stages.ingest.items import IngestItem
from mggtalk.stages.ingest.probe import ProbedFile, ProbeStage, VideoFile, look_up
from mggtalk.stages.ingest.probe_cache import ProbeCache
from mggtalk.stages.ingest.recipes.reader import load_items, prune_media
from mggtalk.stages.ingest.stage import collect, video_of, write_videos

_logger = logging.getLogger(__name__)


def run(arguments: StageArguments) -> None:
    """Fetch and probe every input of the recipe, and write `videos.parquet` and `rejects.parquet`.

    What was fetched and probed before is not again. Media that the recipe no longer names are deleted once the tables
    are there.

    Raises:
        StageError: no input is a usable video.
    """
    settings = load_group(arguments.params, "ingest", IngestConfig)
    directory, spool = arguments.artifacts.videos, arguments.artifacts.spool("ingest")
    items = load_items(Path(settings.recipe), directory / "media")
    failed = _fetch(items, spool / "downloads")
    files = _probe({item.path for item in items} - failed.keys(), ProbeCache(spool / "files")) | failed
    outcome = collect(video_of(item, files[item.path], settings) for item in items)
    assert outcome.num_inputs == len(items), f"{len(items)} inputs, but {outcome.num_inputs} came out"
    _logger.info("%s", describe_counts("ingest in all", (*outcome.videos, *outcome.rejects)))
    write_videos(directory, outcome.videos, outcome.rejects)
    if not outcome.videos:
        raise StageError(f"ingest: none of {outcome.num_inputs} inputs is a usable video; see {directory}")
    for path in prune_media(directory / "media", items):
        _logger.info("%s: deleted, for the recipe does not name it any more", path)


def _fetch(items: Iterable[IngestItem], parts: Path) -> dict[str, ProbedFile | Rejected]:
    """Fetch what is not there yet, and return by path what could not be had."""
    missing = to_download(items)
    failed: dict[str, ProbedFile | Rejected] = {}
    with Progress("ingest: download", len(missing), "file") as progress:
        for path, rejected in fetch_media(missing, parts):
            if rejected:
                failed[path] = rejected
            progress.advance()
    return failed


def _probe(paths: Iterable[str], finished: ProbeCache) -> dict[str, ProbedFile | Rejected]:
    """Return by path what each file is."""
    results: dict[str, ProbedFile | Rejected] = {}
    to_do = []
    for path in sorted(paths):
        file = look_up(path)
        if isinstance(file, Rejected):
            results[path] = file
        elif known := finished.find(file):
            results[path] = known
        else:
            to_do.append(file)

    def keep(file: VideoFile, outcome: list[ProbedFile | Rejected]) -> None:
        (results[file.path],) = outcome
        if not depends_on_machine(results[file.path], "ingest"):
            finished.keep(file, results[file.path])

    run_stage(
        isolated(ProbeStage, "path", file_deadline_s, stall_s=math.inf),  # hashing gives no signs of life
        to_do,
        name="ingest",
        key_of=attrgetter("path"),
        on_result=keep,
        unit="file",
        amount_of=lambda file: file.size_bytes / 1e6,
        amount_unit="megabyte",
    )
    finished.forget_all_but(results)
    return results


if __name__ == "__main__":
    sys.exit(stage_main(run, __doc__))
