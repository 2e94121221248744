"""Cuts a video's frames into clips: maximal runs of usable frames of one face without a cut."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mggtalk.perception.face_landmarker import FaceDetection
from mggtalk.records import RejectReason


@dataclass(frozen=True, slots=True, eq=False)
class FrameObservation:
    """What is known of one resampled frame.

    Attributes:
        face: the main face, None where the frame cannot be used. reason: why it cannot.
        begins_shot: a cut lies before this frame. sharpness: see `records.ClipTrack`.
    """

    face: FaceDetection | None
    reason: RejectReason | None
    begins_shot: bool
    sharpness: float = 0.0


@dataclass(frozen=True, slots=True)
class FrameRun:
    """Consecutive frames `start` to `stop` (exclusive) with one fate; `reason` is None where they are a clip."""

    start: int
    stop: int
    reason: RejectReason | None


def split_runs(observations: Sequence[FrameObservation], min_frames: int, max_frames: int) -> list[FrameRun]:
    """Return runs that cover all frames in order: clips of `min_frames` to `max_frames`, and what was dropped.

    A run of usable frames that is too long is cut into even pieces, none of which is too short as long as `max_frames`
    is at least twice `min_frames` less one.
    """
    runs: list[FrameRun] = []
    for start, stop in _uniform_runs(observations):
        reason = observations[start].reason
        if reason is None and stop - start < min_frames:
            reason = RejectReason.TOO_SHORT
        if reason is None:
            runs.extend(_pieces(start, stop, max_frames))
        else:
            runs.append(FrameRun(start, stop, reason))
    return runs


def main_reason(runs: Sequence[FrameRun]) -> tuple[RejectReason, str]:
    """Return the reason that cost most frames, and all reasons with their frames as text; no run may be a clip."""
    frames = Counter[RejectReason]()
    for run in runs:
        if run.reason is not None:
            frames[run.reason] += run.stop - run.start
    ranked = sorted(frames.items(), key=lambda item: (-item[1], item[0]))
    return ranked[0][0], ", ".join(f"{count} frames {reason}" for reason, count in ranked)


def _uniform_runs(observations: Sequence[FrameObservation]) -> Iterator[tuple[int, int]]:
    start = 0
    for index in range(1, len(observations) + 1):
        if index == len(observations) or _parted(observations[index - 1], observations[index]):
            yield start, index
            start = index


def _parted(before: FrameObservation, after: FrameObservation) -> bool:
    if before.reason is not after.reason:
        return True
    if before.face is None or after.face is None:
        return False
    return after.begins_shot or not _overlap(before.face, after.face)


def _overlap(before: FaceDetection, after: FaceDetection) -> bool:
    """Tell whether two faces share any pixels; neighbouring frames of one face always do."""
    low = np.maximum(before.box[:2], after.box[:2])
    high = np.minimum(before.box[2:], after.box[2:])
    return bool((low < high).all())


def _pieces(start: int, stop: int, max_frames: int) -> Iterator[FrameRun]:
    """Cut a run into the fewest pieces that are short enough, as even as whole frames allow."""
    count = -(-(stop - start) // max_frames)
    edges = [start + (stop - start) * piece // count for piece in range(count + 1)]
    for low, high in pairwise(edges):
        yield FrameRun(low, high, None)
