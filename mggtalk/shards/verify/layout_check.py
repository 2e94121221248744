"""Checks the layout across shards: every clip is complete and in the one shard that the prefix tree gives."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from mggtalk.records import Split
from mggtalk.shards.index import SampleRow
from mggtalk.shards.verify.issues import Issue
from mggtalk.shards.writing.prefix_tree import assign_leaves, shard_name


class LocatedSample(NamedTuple):
    """The few fields of a sample that the check keeps, because there may be very many samples."""

    key: str
    shard: str
    clip_id: str
    labels: tuple[str, str, str, float, int]
    start_frame: int
    num_frames: int
    size_bytes: int

    @classmethod
    def of(cls, row: SampleRow, shard: str) -> "LocatedSample":
        """Return the kept fields of a row that lies in `shard`."""
        labels = (row.video_id, row.identity, row.license, row.fps, row.clip_num_frames)
        return cls(row.key, shard, row.clip_id, labels, row.start_frame, row.num_frames, row.size_bytes)


def check_layout(samples: Iterable[LocatedSample], target_bytes: int | None) -> list[Issue]:
    """Return the issues of the clips and of their distribution over shards.

    Args:
        target_bytes: of the shards; None if it is unknown: then any target size that gives the layout will do.
    """
    clips: defaultdict[str, list[LocatedSample]] = defaultdict(list)
    for sample in samples:
        clips[sample.clip_id].append(sample)
    issues = [issue for clip in sorted(clips) for issue in _check_clip(clips[clip])]
    return issues + _check_tree(clips, target_bytes)


def _check_clip(samples: list[LocatedSample]) -> list[Issue]:
    ordered = sorted(samples, key=lambda sample: sample.start_frame)
    first = ordered[0]
    issues = []
    for sample in ordered:
        if sample.shard != first.shard:
            what = f"clip {first.clip_id} lies in several shards"
            issues.append(Issue(sample.shard, what, sample.key, expected=first.shard, got=sample.shard))
        if sample.labels != first.labels:
            what = "video, identity, licence, frame rate or length of the clip differ from its first sample's"
            expected, got = (", ".join(map(str, labels)) for labels in (first.labels, sample.labels))
            issues.append(Issue(sample.shard, what, sample.key, expected=expected, got=got))
    starts = [sample.start_frame for sample in ordered]
    ends = [sample.start_frame + sample.num_frames for sample in ordered]
    if starts != [0, *ends[:-1]] or ends[-1] != first.labels[-1]:
        what = f"clip {first.clip_id} is not whole"
        got = ", ".join(f"{start} to {end}" for start, end in zip(starts, ends, strict=True))
        issues.append(Issue(first.shard, what, expected=f"frames 0 to {first.labels[-1]}", got=got))
    return issues


def _check_tree(clips: Mapping[str, list[LocatedSample]], target_bytes: int | None) -> list[Issue]:
    sizes = {clip: sum(sample.size_bytes for sample in samples) for clip, samples in clips.items()}
    shards = {clip: samples[0].shard for clip, samples in clips.items()}
    target = target_bytes or _least_target(sizes, shards)
    issues = []
    for split in Split:
        members = {clip: size for clip, size in sizes.items() if shards[clip].startswith(f"{split}/")}
        for prefix, ids in assign_leaves(members, target).items():
            expected = f"{split}/{shard_name(prefix)}"
            issues += [
                Issue(shards[clip], f"clip {clip} belongs in another shard", expected=expected, got=shards[clip])
                for clip in ids
                if shards[clip] != expected
            ]
    return issues


def _least_target(sizes: Mapping[str, int], shards: Mapping[str, str]) -> int:
    """Return the smallest target size that allows the clips to share shards as they do.

    If any target size gives this layout, this one does.
    """
    sizes_by_shard: defaultdict[str, list[int]] = defaultdict(list)
    for clip, shard in shards.items():
        sizes_by_shard[shard].append(sizes[clip])
    return max([1, *(sum(members) for members in sizes_by_shard.values() if len(members) > 1)])
