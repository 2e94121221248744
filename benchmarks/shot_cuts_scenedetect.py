"""PySceneDetect's part of `benchmarks.shot_cuts`: runs in an interpreter that has it, whose OpenCV is not MediaPipe's.

Reads a JSON list of videos from its input and writes `{detector: {video: {"cuts": [frame, ...], "ms": per frame}}}`.
"""

import json
import sys
import time
from statistics import median

import cv2
from scenedetect import AdaptiveDetector, ContentDetector
from scenedetect.common import FrameTimecode
from scenedetect.scene_manager import DEFAULT_MIN_WIDTH

# Its own defaults, but for `min_scene_len`: 15 frames would keep it from finding shots that follow each other fast.
DETECTORS = {
    "ContentDetector": lambda: ContentDetector(min_scene_len=1),
    "ContentDetector, threshold 15": lambda: ContentDetector(threshold=15.0, min_scene_len=1),
    "AdaptiveDetector": lambda: AdaptiveDetector(min_scene_len=1),
    "AdaptiveDetector, min_content_val 5": lambda: AdaptiveDetector(min_content_val=5.0, min_scene_len=1),
}


def detect(video: str) -> dict[str, dict[str, object]]:
    """Return the cuts that each detector finds, and its time with the downscaling of SceneManager, without decoding."""
    detectors = {name: make() for name, make in DETECTORS.items()}
    cuts: dict[str, set[int]] = {name: set() for name in DETECTORS}
    times_s: dict[str, list[float]] = {name: [] for name in DETECTORS}
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
    return {name: {"cuts": sorted(cuts[name]), "ms": 1000 * median(times_s[name])} for name in DETECTORS}


def main() -> None:
    """Answer on the output."""
    cv2.setNumThreads(1)
    by_video = {video: detect(video) for video in json.load(sys.stdin)}
    json.dump({name: {video: found[name] for video, found in by_video.items()} for name in DETECTORS}, sys.stdout)


if __name__ == "__main__":
    main()
