"""The definition of the stage `ingest`: files are hashed and probed once, then the recipe's statements are applied."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mggtalk.artifacts import Artifacts
from mggtalk.errors import StageError
from mggtalk.records import Rejected
from mggtalk.stages.cached_stage import CachedStage, describe_counts
from mggtalk.stages.ingest.config import IngestConfig
from mggtalk.stages.ingest.items import IngestItem
from mggtalk.stages.ingest.probe import ProbedFile, ProbeStage, VideoFile, look_up
from mggtalk.stages.ingest.probe_cache import ProbeCache
from mggtalk.stages.ingest.recipes.reader import prune_media
from mggtalk.stages.ingest.stage import collect, video_of, write_videos
from mggtalk.stages.limits import file_deadline_s

_logger = logging.getLogger(__name__)


class IngestDefinition(CachedStage[VideoFile, ProbedFile, ProbedFile]):
    """Probes every file that the recipe names, and writes `videos.parquet` and `rejects.parquet`.

    Args:
        items: of the recipe. failed: rejections of files that could not be fetched, by path.
    """

    name = "ingest"
    record_name = "path"
    unit = "file"
    amount_unit = "megabyte"
    stall_s = math.inf  # hashing gives no signs of life

    def __init__(
        self, config: IngestConfig, artifacts: Artifacts, items: Sequence[IngestItem], failed: Mapping[str, Rejected]
    ) -> None:
        self._config, self._directory, self._items = config, artifacts.videos, items
        found = {path: look_up(path) for path in sorted({item.path for item in items} - failed.keys())}
        self._rejected = {path: file for path, file in found.items() if isinstance(file, Rejected)} | dict(failed)
        self._paths = found.keys()
        self.records = [file for file in found.values() if isinstance(file, VideoFile)]
        self.store: ProbeCache = ProbeCache(artifacts.staging("ingest") / "files")

    def worker(self) -> Callable[[], ProbeStage]:
        """Return the stage that probes one file."""
        return ProbeStage

    def deadline(self) -> Callable[[VideoFile], float]:
        """Return the deadline of a file."""
        return file_deadline_s

    def amount_of(self, record: VideoFile) -> float:
        """Return the megabytes of a file."""
        return record.size_bytes / 1e6

    def assemble(self, results: Mapping[VideoFile, ProbedFile | Rejected]) -> None:
        """Apply the recipe to the files, write the tables, and delete media that the recipe no longer names.

        Raises:
            StageError: no input is a usable video.
        """
        self.store.forget_all_but(self._paths)
        files = {file.path: result for file, result in results.items()} | self._rejected
        outcome = collect(video_of(item, files[item.path], self._config) for item in self._items)
        assert outcome.num_inputs == len(self._items), f"{len(self._items)} inputs, but {outcome.num_inputs} came out"
        _logger.info("%s", describe_counts("ingest in all", (*outcome.videos, *outcome.rejects)))
        write_videos(self._directory, outcome.videos, outcome.rejects)
        if not outcome.videos:
            raise StageError(f"ingest: none of {outcome.num_inputs} inputs is a usable video; see {self._directory}")
        for path in prune_media(media_folder(self._directory), self._items):
            _logger.info("%s: deleted, because the recipe no longer names it", path)


def media_folder(videos: Path) -> Path:
    """Return the folder of media that were downloaded or taken out of archives."""
    return videos / "media"
