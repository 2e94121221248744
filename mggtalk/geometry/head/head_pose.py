"""Head pose and canonical landmarks of a clip, solved over all of its frames, from landmarks with relative depth."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from mggtalk.geometry.head.head_shape import (
    POSE_LANDMARKS,
    TOLERANCE_CM,
    HeadShape,
    ShapePrior,
)
from mggtalk.geometry.head.rigid_fit import Poses, first_poses, refine_poses, reprojection_cm

_POSE_STEPS = 3
_MOVING_VARIANCE = 4.0
"""Times the median landmark's: from there on, what a landmark does in depth is taken from the landmarker."""


@dataclass(frozen=True, slots=True, eq=False)
class ClipPose:
    """Pose and shape of one head over a clip; see `records.ClipTrack` for frames and units.

    Attributes:
        reprojection_cm: how far each landmark is seen from where the rigid shape projects, at the depth of the head.
    """

    intrinsics: Float64[np.ndarray, "3 3"]
    head_to_camera: Float64[np.ndarray, "num_frames 4 4"]
    landmarks: Float64[np.ndarray, "num_frames num_landmarks 3"]
    neutral_landmarks: Float64[np.ndarray, "num_landmarks 3"]
    reprojection_cm: Float64[np.ndarray, "num_frames num_landmarks"]


def from_principal_point(
    landmarks: Float[np.ndarray, "*batch 3"], frame_size: tuple[int, int]
) -> Float64[np.ndarray, "*batch 3"]:
    """Return landmarks with x and y counted from the middle of the frame, where the principal point is assumed."""
    return landmarks.astype(np.float64) - (frame_size[0] / 2, frame_size[1] / 2, 0.0)


def pose_clip(
    landmarks: Float[np.ndarray, "num_frames num_landmarks 3"],
    frame_size: tuple[int, int],
    shape: HeadShape,
    poses: Poses,
    focal: float,
) -> ClipPose:
    """Return every landmark of a posed shape in head space.

    A landmark lies on the ray of its own pixel, so tracks project exactly onto what was seen, at the depth that the
    posed shape has there. Of landmarks that move against the shape (lips, chin, lids), the landmarker says how.

    Args:
        landmarks: x, y in pixels from the principal point and relative z in the same unit.
    """
    rays = landmarks[..., :2] / focal
    depth = poses.apply(shape.points)[..., 2] + _moved_depth(landmarks, poses, shape, focal)
    camera = np.concatenate((rays, np.ones_like(rays[..., :1])), axis=-1) * depth[..., None]
    head_to_camera = np.tile(np.eye(4), (len(landmarks), 1, 1))
    head_to_camera[:, :3, :3] = poses.rotation
    head_to_camera[:, :3, 3] = poses.translation
    width, height = frame_size
    return ClipPose(
        intrinsics=np.array([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]]),
        head_to_camera=head_to_camera,
        landmarks=(camera - poses.translation[:, None]) @ poses.rotation,
        neutral_landmarks=shape.points,
        reprojection_cm=reprojection_cm(poses, shape.points, rays),
    )


def poses_of(
    landmarks: Float[np.ndarray, "num_frames num_landmarks 3"], shape: HeadShape, prior: ShapePrior, focal: float
) -> Poses:
    """Return the poses of a known shape; see `pose_clip` for the landmarks."""
    _, kept = prior.thinned(POSE_LANDMARKS)
    points, seen, trust = shape.points[kept], landmarks[:, kept], shape.trust[kept]
    poses = first_poses(points, seen, trust, focal)
    return refine_poses(poses, points, seen[..., :2] / focal, trust, TOLERANCE_CM, _POSE_STEPS)


def rotation_angles(rotation: Float[np.ndarray, "*batch 3 3"]) -> Float[np.ndarray, "*batch 3"]:
    """Return yaw, pitch and roll in degrees of head-to-camera rotations; a head that faces the camera upright has none.

    Yaw is positive when the head turns to its left, pitch when it looks up, roll when its crown leans to its left.
    """
    forward, up = rotation[..., :, 2], rotation[..., :, 1]
    yaw = np.degrees(np.arctan2(forward[..., 0], -forward[..., 2]))
    pitch = np.degrees(np.arcsin(np.clip(-forward[..., 1], -1.0, 1.0)))
    roll = np.degrees(np.arctan2(up[..., 0], -up[..., 1]))
    return np.stack((yaw, pitch, roll), axis=-1)


def _moved_depth(
    landmarks: Float[np.ndarray, "num_frames num_landmarks 3"], poses: Poses, shape: HeadShape, focal: float
) -> Float[np.ndarray, "num_frames num_landmarks"]:
    """Return by how much moving landmarks lie behind the posed shape, in cm: the landmarker's change over the clip."""
    trust = shape.trust / np.median(shape.trust[shape.trust > 0])
    variance = 2.0 / np.maximum(trust, 1e-6) - 1.0  # in those of the median landmark; see `head_shape`
    moving = np.clip((variance - 1.0) / (_MOVING_VARIANCE - 1.0), 0.0, 1.0)
    relative = (shape.points @ poses.rotation.transpose(0, 2, 1))[..., 2]
    seen = landmarks[..., 2] * (poses.translation[:, 2:] / focal)
    behind = seen - relative
    behind -= np.median(behind, axis=1, keepdims=True)  # the landmarker's zero is its own
    return np.asarray(moving * (behind - np.median(behind, axis=0)))
