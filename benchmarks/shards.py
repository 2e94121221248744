"""Times the stage `shards` against the libraries beneath it: `python -m benchmarks.shards FOLDER`.

The limit, measured in the same run, is the least work for a sample: decode the clip's frames, segment the person in
each, resize it and encode it as JPEG. Both run in one process bound to one core, clip by clip in turns. Tracks are made
first and not timed.
"""

import argparse
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.track import record_of, seconds
from mggtalk.errors import VideoError
from mggtalk.params import load_group
from mggtalk.perception.segmentation.person_segmenter import PersonSegmenter
from mggtalk.records import ClipTrack, TrackedVideo, VideoPart
from mggtalk.shards.codecs.images import encode_rgb
from mggtalk.stages.shards.config import ShardsConfig
from mggtalk.stages.shards.crop import head_crop
from mggtalk.stages.shards.stage import ShardsStage
from mggtalk.stages.track.config import TrackConfig
from mggtalk.stages.track.stage import TrackStage
from mggtalk.video.decode import open_video
from mggtalk.weights.table import require


def clips_of(path: Path, stage: TrackStage) -> list[ClipTrack]:
    """Return the clips of a video, under invented ids, because shards expect ids that begin with a hash."""
    record = replace(record_of(path), video_id=f"{sum(path.name.encode()):016x}")
    clips: list[ClipTrack] = []
    for outcome in stage(VideoPart(record)):
        if isinstance(outcome, TrackedVideo):
            clips.extend(outcome.clips)
    return clips


def bare_loop(clip: ClipTrack, settings: ShardsConfig, segmenter: PersonSegmenter) -> None:
    """Decode, crop, resize, segment the person and encode; keep nothing."""
    crop = head_crop(clip.head_to_camera, clip.intrinsics, settings.crop_margin, settings.size)
    video = open_video(clip.video.path, clip.fps)
    for frame in video.frames(clip.start_frame, clip.start_frame + clip.num_frames):
        image = crop.image(frame)
        segmenter.segment(image)
        encode_rgb(image, settings.jpeg_quality)


def main() -> None:
    """Print a line for each video and one for all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--videos", type=int, default=8, help="how many, evenly spread over the sorted names")
    parser.add_argument("--size", type=int, default=512, help="of the crop in pixels")
    args = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    tracking = load_group(args.params, "track", TrackConfig)
    settings = replace(load_group(args.params, "shards", ShardsConfig), size=args.size)
    track = TrackStage(tracking, {name: require(name) for name in tracking.models})
    person = require("selfie_segmentation")
    segmenter, stage = (
        PersonSegmenter(person),
        ShardsStage(settings, tracking.backend.landmark_set, {"selfie_segmentation": person}, {}),
    )
    paths = sorted(path for path in args.folder.iterdir() if path.suffix == ".mp4")
    total = np.zeros(5)
    for index in np.linspace(0, len(paths) - 1, min(args.videos, len(paths))):
        path = paths[int(index)]
        try:
            clips = clips_of(path, track)
        except VideoError:
            continue
        row = np.zeros(5)
        for clip in clips:
            bare = seconds(lambda: bare_loop(clip, settings, segmenter))  # noqa: B023 - called at once
            ours = seconds(lambda: list(stage(clip)))  # noqa: B023 - called at once
            row += (clip.num_frames, *bare, *ours)
        if clips:
            print(f"{path.name:32} {row[0]:5.0f} frames  bare {row[0] / row[1]:6.1f}/s  stage {row[0] / row[3]:5.1f}/s")
        total += row
    frames, bare_wall, bare_cpu, wall, processor = total
    print(
        f"all, {args.size} px, one source frame in {settings.geometry_stride}: {frames / wall:.1f} frames/s a core "
        f"({frames / processor:.1f} by processor time) of {frames / bare_wall:.1f}: ratio {bare_wall / wall:.3f}, "
        f"of processor time {bare_cpu / processor:.3f}"
    )


if __name__ == "__main__":
    main()
