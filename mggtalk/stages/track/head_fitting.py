"""Fits a head to the landmarks of a run of frames: one shape, one pose a frame, and the confidence of each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64

from mggtalk.geometry.head.head_pose import ClipPose, from_principal_point, pose_clip, poses_of, rotation_angles
from mggtalk.geometry.head.head_shape import HeadShape, ShapePrior, estimate_focal, solve_head_shape
from mggtalk.geometry.head.landmark_sets import EYE_DISTANCE_CM, LandmarkSet
from mggtalk.geometry.head.rigid_fit import Poses, reprojection_cm
from mggtalk.stages.track.clip_segmentation import FrameRun

_CONFIDENCE_CM = 0.04 * EYE_DISTANCE_CM
"""Four times the median residual of real clips: a landmark that lies farther off is not where the head has it."""
_BLOCK = 512
"""Frames that are fitted at once, to bound memory."""


@dataclass(frozen=True, slots=True, eq=False)
class FittedRun:
    """A run of frames of one head, which begins at frame `run.start`; see `HeadFitter`.

    Attributes:
        landmarks: x, y in pixels from the principal point and relative z.
        confidence: fraction of the landmarks that are seen where the head has them, by frame.
    """

    run: FrameRun
    frame_size: tuple[int, int]
    focal: float
    shape: HeadShape
    landmarks: Float64[np.ndarray, "num_frames num_landmarks 3"]
    poses: Poses
    confidence: Float32[np.ndarray, " num_frames"]

    @property
    def yaw_deg(self) -> Float64[np.ndarray, " num_frames"]:
        """Turn of the head to its left."""
        return np.asarray(rotation_angles(self.poses.rotation)[:, 0])

    def __contains__(self, clip: FrameRun) -> bool:
        """Tell whether a clip lies in this run."""
        return self.run.start <= clip.start and clip.stop <= self.run.stop

    def frames_of(self, clip: FrameRun) -> slice:
        """Return where the frames of a clip stand in the arrays of this run."""
        return slice(clip.start - self.run.start, clip.stop - self.run.start)

    def pose(self, clip: FrameRun) -> ClipPose:
        """Return poses and canonical landmarks of a clip."""
        frames = self.frames_of(clip)
        return pose_clip(self.landmarks[frames], self.frame_size, self.shape, self.poses.take(frames), self.focal)


class HeadFitter:
    """Fits the runs of one video, whose camera has one focal length.

    Args:
        camera_distance: see `estimate_focal`.
        frame_size: width and height in pixels.
    """

    def __init__(self, landmarks: LandmarkSet, camera_distance: float, frame_size: tuple[int, int]) -> None:
        self._prior = ShapePrior(
            template=landmarks.neutral,
            mirror=landmarks.mirror,
            weights=landmarks.alignment_weights,
            eye_corners=landmarks.eye_corners,
            eye_distance=EYE_DISTANCE_CM,
        )
        self._camera_distance = camera_distance
        self._frame_size = frame_size

    def focal(self, landmarks: Float[np.ndarray, "num_frames num_landmarks 3"]) -> float:
        """Return the focal length in pixels from landmarks of one face in pixels of the frame."""
        centered = from_principal_point(landmarks, self._frame_size)
        return estimate_focal(centered, self._prior, self._camera_distance)

    def fit(self, run: FrameRun, landmarks: Float[np.ndarray, "num_frames num_landmarks 3"], focal: float) -> FittedRun:
        """Return the head of a run from landmarks in pixels of the frame."""
        centered = from_principal_point(landmarks, self._frame_size)
        shape = solve_head_shape(centered, self._prior, focal)
        blocks = [centered[low : low + _BLOCK] for low in range(0, len(centered), _BLOCK)]
        poses = [poses_of(block, shape, self._prior, focal) for block in blocks]
        return FittedRun(
            run,
            self._frame_size,
            focal,
            shape,
            centered,
            _joined(poses),
            np.concatenate([self._confidence(*pair, shape, focal) for pair in zip(poses, blocks, strict=True)]),
        )

    def _confidence(
        self, poses: Poses, landmarks: Float[np.ndarray, "num_frames num_landmarks 3"], shape: HeadShape, focal: float
    ) -> Float32[np.ndarray, " num_frames"]:
        rigid = np.flatnonzero(self._prior.weights)
        error = reprojection_cm(poses, shape.points[rigid], landmarks[:, rigid, :2] / focal)
        return np.asarray((error < _CONFIDENCE_CM).mean(axis=1), dtype=np.float32)


def _joined(poses: Sequence[Poses]) -> Poses:
    return Poses(
        np.concatenate([block.rotation for block in poses]), np.concatenate([block.translation for block in poses])
    )
