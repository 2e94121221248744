"""Fits mggtalk/perception/landmarks/ibug_68_expression.npz to real tracks: the principal components of facial motion.

    python scripts/make_expression_basis.py ARTIFACTS

ARTIFACTS is where `ingest` and `track` have run on talking videos of many people with the landmarker `mediapipe`.
Prints the fraction of the variance that the basis explains, for these people and, by cross-validation, for unseen ones.
"""

import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mggtalk.geometry.head.head_pose import rotation_angles
from mggtalk.geometry.head.landmark_sets import ibug_68, landmark_set
from mggtalk.perception.landmarks import expression_basis
from mggtalk.perception.landmarks.expression_basis import BASIS_FILE, ExpressionBasis, fit_expression_basis
from mggtalk.records import TrackedVideo
from mggtalk.stages.ingest.stage import read_videos
from mggtalk.stages.track.track_files import read_track_files

MAX_YAW_DEG = 30.0  # beyond it the landmarker guesses the far side of the face
MIN_FRAMES = 10
FOLDS = 4

Clips = list[Float[np.ndarray, "num_frames 68 3"]]


def main() -> None:
    """Fit the basis, write it, and print the variance that it explains."""
    clips_by_identity: dict[str, Clips] = {}
    for identity, displacements in displacements_by_identity(Path(sys.argv[1])):
        clips_by_identity.setdefault(identity, []).append(displacements)
    clips = list(chain(*clips_by_identity.values()))
    basis, fraction = fit_expression_basis(clips, ibug_68().mirror)
    np.savez_compressed(
        Path(expression_basis.__file__).with_name(BASIS_FILE),
        directions=basis.directions.astype(np.float32),
        scales=basis.scales.astype(np.float32),
        symmetric=basis.symmetric,
    )
    cut = np.mean([np.isin(basis.coefficients(clip), (0.0, 1.0)).mean() for clip in clips])
    unseen = _unseen_fraction(clips_by_identity)
    sys.stdout.write(
        f"{sum(map(len, clips))} frames, {len(clips)} clips, {len(clips_by_identity)} people: "
        f"{len(basis.scales)} components ({basis.symmetric.sum()} symmetric) "
        f"explain {fraction:.1%}, of unseen people {unseen:.1%}; "
        f"{cut:.1%} of the coefficients are cut off\n"
    )


def displacements_by_identity(artifacts: Path) -> Iterator[tuple[str, Float[np.ndarray, "num_frames 68 3"]]]:
    """Yield the identity of every clip with the displacements of its landmarks from neutral, in frontal frames."""
    videos = {video.video_id: video for video in read_videos(artifacts / "videos")}
    for file in read_track_files(artifacts / "tracks", videos):
        for clip in file.result.clips if isinstance(file.result, TrackedVideo) else ():
            yaw = rotation_angles(clip.head_to_camera[:, :3, :3].astype(np.float64))[:, 0]
            is_frontal = np.abs(yaw) < MAX_YAW_DEG
            if is_frontal.sum() >= MIN_FRAMES:
                points = landmark_set(clip.landmark_set).ibug_68
                displacements = (clip.landmarks - clip.neutral_landmarks)[is_frontal][:, points]
                yield clip.video.identity, displacements.astype(np.float64)


def _unseen_fraction(clips_by_identity: dict[str, Clips]) -> float:
    """Return the fraction of the variance that bases of other people explain, by cross-validation over identities."""
    names = sorted(clips_by_identity)
    explained = total = 0.0
    for fold in range(FOLDS):
        left_out = set(names[fold::FOLDS])
        seen = chain(*(clips_by_identity[name] for name in names if name not in left_out))
        basis, _ = fit_expression_basis(list(seen), ibug_68().mirror)
        for clip in chain(*(clips_by_identity[name] for name in left_out)):
            explained += _variance(basis, clip)
            total += _variance(None, clip)
    return explained / total


def _variance(basis: ExpressionBasis | None, clip: Float[np.ndarray, "num_frames 68 3"]) -> float:
    motion = clip - clip.mean(axis=0)
    if basis is None:
        weights = expression_basis.point_weights()
        return float(((motion * weights) ** 2).sum())
    return float((np.einsum("tni,kni->tk", motion, basis.directions) ** 2).sum())


if __name__ == "__main__":
    main()
