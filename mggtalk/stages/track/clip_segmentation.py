"""Cuts a video's frames into clips: maximal runs of usable frames of one face without a cut."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mggtalk.records import RejectReason, Segment


@dataclass(frozen=True, slots=True)
class FrameStatus:
    """What is known of one resampled frame: why it cannot be used, if so, and whether a new run begins with it."""

    reason: RejectReason | None
    begins_run: bool


@dataclass(frozen=True, slots=True)
class FrameRun:
    """Consecutive frames `start` to `stop` (exclusive) with one status; `reason` is None where they are a clip."""

    start: int
    stop: int
    reason: RejectReason | None

    @property
    def frames(self) -> slice:
        """To take the frames out of what is kept by frame."""
        return slice(self.start, self.stop)


def maximal_runs(statuses: Sequence[FrameStatus]) -> list[FrameRun]:
    """Return the fewest runs that cover all frames in order: of one reason each, none of them across a cut."""
    runs, start = [], 0
    for index in range(1, len(statuses) + 1):
        if index == len(statuses) or _parted(statuses[index - 1], statuses[index]):
            runs.append(FrameRun(start, index, statuses[start].reason))
            start = index
    return runs


def split_runs(statuses: Sequence[FrameStatus], min_frames: int, max_frames: int) -> list[FrameRun]:
    """Return runs that cover all frames in order: clips of `min_frames` to `max_frames`, and what was dropped.

    A run of usable frames that is too long is cut into even pieces, none of which is too short as long as `max_frames`
    is at least twice `min_frames` less one.
    """
    runs: list[FrameRun] = []
    for run in maximal_runs(statuses):
        if run.reason is not None:
            runs.append(run)
        elif run.stop - run.start < min_frames:
            runs.append(FrameRun(run.start, run.stop, RejectReason.TOO_SHORT))
        else:
            runs.extend(_pieces(run.start, run.stop, max_frames))
    return runs


def main_reason(segments: Iterable[Segment]) -> tuple[RejectReason, str]:
    """Return the reason that cost most frames, and all reasons with their frames as text; no segment may be a clip."""
    frames = Counter[RejectReason]()
    for segment in segments:
        assert segment.reason is not None, f"{segment.clip_id} is a clip"
        frames[segment.reason] += segment.num_frames
    ranked = sorted(frames.items(), key=lambda item: (-item[1], item[0]))
    return ranked[0][0], ", ".join(f"{count} frames {reason}" for reason, count in ranked)


def _parted(before: FrameStatus, after: FrameStatus) -> bool:
    return before.reason is not after.reason or (after.reason is None and after.begins_run)


def _pieces(start: int, stop: int, max_frames: int) -> Iterator[FrameRun]:
    """Cut a run into the fewest pieces that are short enough, as even as whole frames allow."""
    count = -(-(stop - start) // max_frames)
    edges = [start + (stop - start) * piece // count for piece in range(count + 1)]
    for low, high in pairwise(edges):
        yield FrameRun(low, high, None)
