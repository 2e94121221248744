"""Counts what the stages before an evaluation kept and rejected, from their tables."""

from mggtalk.artifacts import Artifacts
from mggtalk.evaluation.report.rejects import StageCounts, read_rejects
from mggtalk.shards.reader import Shards
from mggtalk.stages.ingest.stage import read_videos
from mggtalk.stages.tables import CLIPS_FILE, REJECTS_FILE, read_rows
from mggtalk.stages.track.tables import ClipRow


def counts_before(artifacts: Artifacts) -> list[StageCounts]:
    """Return what `ingest`, `track` and `shards` kept and left out; what one kept is what the next began with.

    Raises:
        StageError: a table is missing or damaged, or the counts do not add up.
    """
    rejects = {
        folder: read_rejects(folder / REJECTS_FILE) for folder in (artifacts.videos, artifacts.tracks, artifacts.shards)
    }
    num_videos = len(read_videos(artifacts.videos))
    clip_ids = [row.clip_id for row in read_rows(artifacts.tracks / CLIPS_FILE, ClipRow)]
    num_tracked = len({clip_id.rsplit("-f", 1)[0] for clip_id in clip_ids})  # a clip id begins with its video's
    num_ingested = num_videos + len(rejects[artifacts.videos])
    return [
        StageCounts("ingest", "inputs", num_ingested, num_videos, rejects[artifacts.videos]),
        StageCounts("track", "videos", num_videos, num_tracked, rejects[artifacts.tracks]),
        StageCounts("shards", "clips", len(clip_ids), len(Shards(artifacts.shards).clips()), rejects[artifacts.shards]),
    ]
