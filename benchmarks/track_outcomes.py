"""Tabulates the outcome of every input of `track` and the quality of its heads: `python -m benchmarks.track_outcomes`.

The table has one row per input. With `--manifest`, a CSV file with the columns `file` and `kind`, the inputs
that keep most of their frames are counted by kind.
"""

import argparse
import csv
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from mggtalk.artifacts import Artifacts
from mggtalk.geometry.head.landmark_sets import landmark_set
from mggtalk.records import ClipTrack, TrackedVideo
from mggtalk.stages.ingest.stage import read_videos
from mggtalk.stages.tables import read_rejects
from mggtalk.stages.track.quality import clip_quality, mirror_residual_mm, reprojection_percent
from mggtalk.stages.track.track_files import outcome, read_track_files

YAW_BANDS = ((0, 15), (15, 30), (30, 45), (45, 90))


def yaw_deg(clip: ClipTrack) -> np.ndarray:
    """Return the absolute yaw of the head in every frame."""
    heading = clip.head_to_camera[:, :3, 2].astype(np.float64)
    turn: np.ndarray = np.degrees(np.abs(np.arctan2(heading[:, 0], -heading[:, 2])))
    return turn


def print_quality(clips: list[ClipTrack]) -> None:
    """Print medians over all frames and rigid landmarks, by yaw."""
    rigid = np.flatnonzero(landmark_set(clips[0].landmark_set).alignment_weights)
    yaw = np.concatenate([yaw_deg(clip) for clip in clips])
    mirror = np.concatenate([mirror_residual_mm(clip)[:, rigid] for clip in clips])
    reprojection = np.concatenate([reprojection_percent(clip)[:, rigid] for clip in clips])
    print("\n| yaw | frames | mirror residual, median | reprojection, median |\n|---|---|---|---|")
    for low, high in YAW_BANDS:
        inside = (yaw >= low) & (yaw < high)
        if inside.any():
            figures = f"{np.median(mirror[inside]):.2f} mm | {np.median(reprojection[inside]):.2f} %"
            print(f"| {low} to {high} | {inside.sum()} | {figures} |")
    print(f"| all | {len(yaw)} | {np.median(mirror):.2f} mm | {np.median(reprojection):.2f} % |")
    jitter = np.median([clip_quality(clip).jitter_mm for clip in clips])
    print(f"\njitter: {jitter:.2f} mm, median over clips")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"))
    parser.add_argument("--manifest", type=Path)
    args = parser.parse_args()
    artifacts = Artifacts(args.artifacts)
    kinds: dict[str, str] = {}
    if args.manifest:
        with args.manifest.open(encoding="utf-8") as rows:
            kinds = {row["file"]: row["kind"] for row in csv.DictReader(rows)}
    videos = {video.video_id: video for video in read_videos(artifacts.videos)}
    parts = defaultdict(list)
    for file in read_track_files(artifacts.tracks, videos):
        parts[file.record.video_id].append((file.part, file.result))
    rows, clips, well_kept = {}, [], Counter[str]()
    for video_id, video in videos.items():
        results = [result for _, result in sorted(parts[video_id], key=lambda item: item[0])]
        segments = [s for result in results if isinstance(result, TrackedVideo) for s in result.segments]
        frames = sum(segment.num_frames for segment in segments)
        whole = outcome(video, results)
        if isinstance(whole, TrackedVideo):
            kept = sum(clip.num_frames for clip in whole.clips)
            clips.extend(whole.clips)
            lost = Counter(
                {s.reason: sum(o.num_frames for o in segments if o.reason is s.reason) for s in segments if s.reason}
            )
            rest = ", ".join(f"{count} {reason}" for reason, count in lost.most_common())
            rows[video.name] = f"{len(whole.clips)} clips | {kept} of {frames} ({kept / frames:.0%}) | {rest}"
            well_kept[kinds.get(video.name, "")] += kept >= 0.8 * frames
        else:
            rows[video.name] = f"{whole.reason} | 0 of {frames} | {whole.detail}"
    for rejected in read_rejects(artifacts.videos):
        rows[rejected.key] = f"{rejected.reason} | | at ingest"
    print("| input | kind | outcome | frames kept | left out |\n|---|---|---|---|---|")
    for name in sorted(rows):
        print(f"| {name} | {kinds.get(name, '')} | {rows[name]} |")
    print(f"\n{len(rows)} inputs; with at least 80 % of their frames: {dict(well_kept)}")
    if clips:
        print_quality(clips)


if __name__ == "__main__":
    main()
