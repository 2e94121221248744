"""Lists the clips of a data set from the labels of its samples, without a loop over samples (there may be 100,000)."""

import itertools
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mggtalk.errors import ShardError
from mggtalk.records import Split
from mggtalk.shards.schema import CHUNK_FRAMES


@dataclass(frozen=True, slots=True)
class ClipEntry:
    """A clip of the data set; `source_frames` are the clip's frames that have geometry."""

    clip_id: str
    video_id: str
    identity: str
    license: str
    split: Split
    num_frames: int
    source_frames: tuple[int, ...]


def collect_clips(
    labels: pa.Table, split: Split | None, where: str
) -> tuple[dict[str, ClipEntry], dict[str, tuple[int, ...]]]:
    """Return the clips of `split` (of all splits if None), sorted by clip id, and the row indices of their samples.

    Args:
        labels: one row per sample, with the columns `lazy_index.LABELS`.

    Raises:
        ShardError: a sample of a clip is missing.
    """
    rows = pa.array(np.arange(len(labels)))
    if split is not None:
        rows = rows.filter(pc.equal(labels["split"], split.value))
        labels = labels.take(rows)
    if not len(labels):
        return {}, {}
    order = pc.sort_indices(labels, sort_keys=[("clip_id", "ascending"), ("start_frame", "ascending")])
    labels, indices = labels.take(order), rows.take(order).to_pylist()
    first = _first_rows(labels["clip_id"])
    _check_complete(labels, first, where)
    sources, source_edges = _source_frames(labels, first)
    spans = list(itertools.pairwise([*first.tolist(), len(labels)]))
    heads = labels.take(first)
    columns = [heads[name].to_pylist() for name in ("clip_id", "video_id", "identity", "license", "split")]
    clips = {
        clip_id: ClipEntry(clip_id, video_id, identity, license_, Split(part), num_frames, tuple(sources[begin:end]))
        for clip_id, video_id, identity, license_, part, num_frames, (begin, end) in zip(
            *columns, heads["clip_num_frames"].to_pylist(), itertools.pairwise(source_edges), strict=True
        )
    }
    return clips, {clip_id: tuple(indices[begin:end]) for clip_id, (begin, end) in zip(clips, spans, strict=True)}


def _first_rows(clip_ids: pa.ChunkedArray) -> np.ndarray:
    """Return the index of each clip's first row."""
    changes = pc.not_equal(clip_ids.slice(1), clip_ids.slice(0, len(clip_ids) - 1)).to_numpy()
    return np.concatenate([[0], np.flatnonzero(changes) + 1])


def _check_complete(labels: pa.Table, first: np.ndarray, where: str) -> None:
    starts, lengths = (labels[name].to_numpy() for name in ("start_frame", "num_frames"))
    counts = np.diff([*first, len(labels)])
    chunk = np.arange(len(labels)) - np.repeat(first, counts)
    num_frames = np.add.reduceat(lengths, first)
    incomplete = np.logical_or.reduceat(starts != chunk * CHUNK_FRAMES, first)
    incomplete |= num_frames != labels["clip_num_frames"].to_numpy()[first]
    incomplete |= counts != -(-num_frames // CHUNK_FRAMES)
    for clip in np.flatnonzero(incomplete):
        begin = int(first[clip])
        got = starts[begin : begin + counts[clip]].tolist()
        raise ShardError(f"{where}: clip {labels['clip_id'][begin]}: samples missing: got those at frames {got}")


def _source_frames(labels: pa.Table, first: np.ndarray) -> tuple[list[int], list[int]]:
    """Return the source frames of all clips, counted within their clip, in one list, and where each clip's begin."""
    lists = labels["source_frames"]
    counts = pc.list_value_length(lists).to_numpy()
    frames = pc.list_flatten(lists).to_numpy() + np.repeat(labels["start_frame"].to_numpy(), counts)
    edges = np.concatenate([[0], np.cumsum(counts)])
    return frames.tolist(), edges[[*first, len(labels)]].tolist()
