"""Measures what the 68 points keep of MediaPipe's 478, on real tracks: `python -m benchmarks.landmark_sets ARTIFACTS`.

ARTIFACTS is where `ingest` and `track` have run with the landmarker `mediapipe`. Prints the distance from the surface
made of the 68 points to MediaPipe's mesh, and the variance of some blendshapes that a regression on the `pca`
coefficients explains, on people whom the regression has not seen.
"""

import argparse
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mggtalk.geometry.head.landmark_sets import ibug_68, mediapipe_478
from mggtalk.perception.landmarks.expression_basis import pca_expression
from mggtalk.records import ClipTrack, TrackedVideo
from mggtalk.stages.ingest.stage import read_videos
from mggtalk.stages.track.track_files import read_track_files

EVERY = 10
FOLDS = 4
BLENDSHAPES = ("jawOpen", "mouthPucker", "mouthSmileLeft", "browInnerUp", "browDownRight", "eyeBlinkLeft")


def main() -> None:
    """Print both measures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("artifacts", type=Path)
    clips = _clips(parser.parse_args().artifacts)
    points = np.concatenate([clip.landmarks[::EVERY] for clip in clips]).astype(np.float64)
    dense, sparse = mediapipe_478(), ibug_68()
    made = np.stack([sparse.surface(frame) for frame in points[:, dense.ibug_68]])
    errors_mm = 10 * np.linalg.norm(made - points[:, : made.shape[1]], axis=-1)
    print(f"{len(clips)} clips, {len(points)} frames")
    print(f"surface: mean {errors_mm.mean():.1f} mm, 95th percentile {np.percentile(errors_mm, 95):.1f} mm")
    for name, r_squared in zip(BLENDSHAPES, _explained(clips), strict=True):
        print(f"{name}: R2 {r_squared:.2f}")


def _clips(artifacts: Path) -> list[ClipTrack]:
    videos = {video.video_id: video for video in read_videos(artifacts / "videos")}
    tracked = [file.result for file in read_track_files(artifacts / "tracks", videos)]
    return [clip for video in tracked if isinstance(video, TrackedVideo) for clip in video.clips]


def _explained(clips: list[ClipTrack]) -> Float[np.ndarray, " num_blendshapes"]:
    """Return R2 of a linear regression of blendshapes on the coefficients, both about their mean over the clip."""
    names = list(clips[0].expression_names)
    columns = [names.index(name) for name in BLENDSHAPES]
    seen, wanted = [], []
    for clip in clips:
        coefficients = pca_expression(clip.landmarks, clip.neutral_landmarks, clip.landmark_set).astype(np.float64)
        seen.append(coefficients - coefficients.mean(axis=0))
        wanted.append(clip.expression[:, columns] - clip.expression[:, columns].mean(axis=0))
    identities = sorted({clip.video.identity for clip in clips})
    fold = np.array([identities.index(clip.video.identity) % FOLDS for clip in clips])
    left = total = np.zeros(len(columns))
    for number in range(FOLDS):
        training, testing = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        inputs, outputs = (np.concatenate([part[index] for index in training]) for part in (seen, wanted))
        weights = np.linalg.lstsq(inputs, outputs, rcond=None)[0]
        for index in testing:
            left = left + ((wanted[index] - seen[index] @ weights) ** 2).sum(axis=0)
            total = total + (wanted[index] ** 2).sum(axis=0)
    return np.asarray(1 - left / total)


if __name__ == "__main__":
    main()
