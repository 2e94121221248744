"""Times the stage `track` against the libraries beneath it: `python -m benchmarks.track [FOLDER]`.

The limit, measured in the same run, is a bare loop over the same calls: decord decodes the frames at the clips' frame
rate, and FaceLandmarker finds landmarks and blendshapes in them. Both run in one process bound to one core, video by
video in turns, so that other work on the machine slows both.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import mediapipe
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision

from mggtalk.errors import VideoError
from mggtalk.params import load_group
from mggtalk.perception.landmarks.mediapipe_landmarker import MAX_FACES
from mggtalk.records import Split, VideoPart, VideoRecord
from mggtalk.stages.track.config import TrackConfig
from mggtalk.stages.track.stage import TrackStage
from mggtalk.video.decode import open_video
from mggtalk.video.probe import probe
from mggtalk.weights.table import require


def record_of(path: Path) -> VideoRecord:
    """Return the record that `ingest` would make of a file, as far as tracking needs it."""
    facts = probe(str(path))
    return VideoRecord(
        video_id=path.stem,
        path=str(path),
        sha256="0" * 64,
        size_bytes=path.stat().st_size,
        start_s=0.0,
        end_s=float("inf"),
        width=facts.width,
        height=facts.height,
        fps=facts.fps,
        num_frames=facts.num_frames,
        duration_s=facts.duration_s,
        has_audio=facts.has_audio,
        identity="",
        license="",
        split=Split.TRAIN,
        name=path.name,
    )


def bare_loop(path: Path, frames: Iterable[int], model: bytes) -> None:
    """Decode the frames with decord, and find landmarks and blendshapes in each; keep nothing."""
    import decord  # noqa: PLC0415 - native code that is only wanted here

    video = decord.VideoReader(str(path), num_threads=1)
    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_buffer=model),
        running_mode=vision.RunningMode.VIDEO,
        num_faces=MAX_FACES,
        output_face_blendshapes=True,
    )
    with vision.FaceLandmarker.create_from_options(options) as landmarker:
        image, position = None, -1
        for number, index in enumerate(frames):
            if index != position:
                if index > position + 1:
                    video.skip_frames(index - position - 1)
                image, position = video.next().asnumpy(), index
            frame = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image))
            landmarker.detect_for_video(frame, 40 * number)


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Return wall-clock and processor seconds of `work`."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    """Print a line for each video that decord reads, and the ratios over all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="videos; those that decord misreads are left out")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--videos", type=int, default=12, help="how many, evenly spread over the sorted names")
    parser.add_argument("--repeats", type=int, default=2)
    args = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    settings = load_group(args.params, "track", TrackConfig)
    models = {name: require(name) for name in settings.models}
    stage, model = TrackStage(settings, models), models["face_landmarker"].read_bytes()
    paths = sorted(path for path in args.folder.iterdir() if path.suffix == ".mp4")
    chosen = [paths[int(index)] for index in np.linspace(0, len(paths) - 1, min(args.videos, len(paths)))]
    total: dict[str, float] = {"frames": 0, "bare": 0, "stage": 0, "bare_cpu": 0, "stage_cpu": 0}
    ratios = []
    for path in chosen:
        try:
            record, video = record_of(path), open_video(str(path), settings.fps)
        except VideoError:
            continue
        for _ in range(args.repeats):
            bare, bare_cpu = seconds(lambda: bare_loop(path, video.frame_index.tolist(), model))  # noqa: B023 - now
            ours, ours_cpu = seconds(lambda: list(stage(VideoPart(record))))  # noqa: B023 - called at once
            for name, value in zip(total, (video.num_frames, bare, ours, bare_cpu, ours_cpu), strict=True):
                total[name] += value
            ratios.append(bare / ours)
        print(
            f"{path.name:32} {video.width}x{video.height} {video.num_frames:5} frames"
            f"  bare {video.num_frames / bare:6.1f}/s  stage {video.num_frames / ours:6.1f}/s"
            f"  ratio {bare / ours:.3f}, of processor time {bare_cpu / ours_cpu:.3f}"
        )
    print(
        f"all: {total['frames'] / total['stage']:.1f} frames/s of {total['frames'] / total['bare']:.1f}: "
        f"ratio {total['bare'] / total['stage']:.3f} (median {statistics.median(ratios):.3f}), "
        f"of processor time {total['bare_cpu'] / total['stage_cpu']:.3f}"
    )


if __name__ == "__main__":
    main()
