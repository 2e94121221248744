"""Runs PySceneDetect for `benchmarks.shot_cuts`, in an interpreter of its own because its OpenCV is not MediaPipe's.

Reads a JSON list of videos from stdin and writes `{detector: {video: {"cuts": [frame, ...], "ms": per frame}}}`.
"""

import json
import sys
import time
from statistics import median
from typing import Any

import cv2


def make_detectors() -> dict[str, Any]:
    """Return new detectors with their own defaults except `min_scene_len`: 15 frames would hide short shots."""
    from scenedetect import AdaptiveDetector, ContentDetector  # noqa: PLC0415  not in this project's environment

    return {
        "ContentDetector": ContentDetector(min_scene_len=1),
        "ContentDetector, threshold 15": ContentDetector(threshold=15.0, min_scene_len=1),
        "AdaptiveDetector": AdaptiveDetector(min_scene_len=1),
        "AdaptiveDetector, min_content_val 5": AdaptiveDetector(min_content_val=5.0, min_scene_len=1),
    }


def detect(video: str) -> dict[str, dict[str, object]]:
    """Return each detector's cuts, and its time with SceneManager's downscaling but without decoding."""
    from scenedetect.common import FrameTimecode  # noqa: PLC0415  not in this project's environment
    from scenedetect.scene_manager import DEFAULT_MIN_WIDTH  # noqa: PLC0415

    detectors = make_detectors()
    cuts: dict[str, set[int]] = {name: set() for name in detectors}
    times_s: dict[str, list[float]] = {name: [] for name in detectors}
    capture, frames = cv2.VideoCapture(video), 0
    while True:
        read, image = capture.read()
        if not read:
            break
        scale = min(1.0, DEFAULT_MIN_WIDTH / max(image.shape[:2]))
        size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
        for name, detector in detectors.items():
            started_s = time.perf_counter()
            small = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR) if scale < 1 else image
            found = detector.process_frame(FrameTimecode(frames, 25.0), small)
            times_s[name].append(time.perf_counter() - started_s)
            cuts[name] |= {timecode.frame_num for timecode in found}
        frames += 1
    for name, detector in detectors.items():
        cuts[name] |= {timecode.frame_num for timecode in detector.post_process(FrameTimecode(frames, 25.0))}
    return {name: {"cuts": sorted(cuts[name]), "ms": 1000 * median(times_s[name])} for name in detectors}


def main() -> None:
    """Write the results to stdout."""
    cv2.setNumThreads(1)
    by_video = {video: detect(video) for video in json.load(sys.stdin)}
    names = make_detectors()
    json.dump({name: {video: found[name] for video, found in by_video.items()} for name in names}, sys.stdout)


if __name__ == "__main__":
    main()
