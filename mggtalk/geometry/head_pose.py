"""Head pose and canonical landmarks of a clip from image landmarks with relative depth."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int64

from mggtalk.geometry.procrustes import align, solve_symmetric_shape


@dataclass(frozen=True, slots=True, eq=False)
class ClipPose:
    """Pose and shape of one head over a clip; see `records.ClipTrack` for frames and units."""

    intrinsics: Float64[np.ndarray, "3 3"]
    head_to_camera: Float64[np.ndarray, "num_frames 4 4"]
    landmarks: Float64[np.ndarray, "num_frames num_landmarks 3"]
    neutral_landmarks: Float64[np.ndarray, "num_landmarks 3"]


@dataclass(frozen=True, slots=True, eq=False)
class ShapePrior:
    """What is known of a head before its clip is seen: template, mirror twins, and what fixes the scale."""

    template: Float64[np.ndarray, "num_landmarks 3"]
    mirror: Int64[np.ndarray, " num_landmarks"]
    weights: Float64[np.ndarray, " num_landmarks"]
    eye_corners: tuple[int, int]
    eye_distance: float


def solve_clip_pose(
    landmarks: Float[np.ndarray, "num_frames num_landmarks 3"],
    frame_size: tuple[int, int],
    prior: ShapePrior,
    camera_distance: float,
) -> ClipPose:
    """Return one symmetric head shape, one camera and the head's pose in every frame of a clip.

    The size of the face in each frame comes from generalised Procrustes analysis (a scaled orthographic camera). One
    image gives no focal length, so the face is put at `camera_distance` in the median frame, which fixes it. Every
    landmark is then unprojected through its own pixel at its own depth, so that tracks project exactly onto what was
    seen. Shape and pose are fitted to these points, where perspective no longer bends the shape.

    Args:
        landmarks: x, y in pixels of the video frame and relative z in the same unit.
        frame_size: width and height of the video frame in pixels.
        camera_distance: assumed distance of the face from the camera in cm; the head's origin lies some 3 cm behind.
    """
    orthographic_shape, orthographic_trust = _symmetric_shape(landmarks, prior)
    fit = align(orthographic_shape, landmarks, orthographic_trust)
    focal = float(np.median(fit.scale)) * camera_distance
    width, height = frame_size
    intrinsics = np.array([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])
    relative_depth = (landmarks[..., 2] - fit.translation[:, None, 2]) / fit.scale[:, None]
    depth = focal / fit.scale[:, None] + relative_depth
    rays = (landmarks[..., :2] - (width / 2, height / 2)) / focal
    camera_points = np.concatenate((rays, np.ones_like(rays[..., :1])), axis=-1) * depth[..., None]
    shape, trust = _symmetric_shape(camera_points, prior)
    pose = align(shape, camera_points, trust)
    head_to_camera = np.tile(np.eye(4), (len(landmarks), 1, 1))
    head_to_camera[:, :3, :3] = pose.rotation
    # The head moves along its rays until it has the size of the shape, which changes no pixel.
    head_to_camera[:, :3, 3] = pose.translation / pose.scale[:, None]
    return ClipPose(intrinsics, head_to_camera, pose.inverse_apply(camera_points), shape)


def _symmetric_shape(
    points: Float[np.ndarray, "num_frames num_landmarks 3"], prior: ShapePrior
) -> tuple[Float[np.ndarray, "num_landmarks 3"], Float[np.ndarray, " num_landmarks"]]:
    return solve_symmetric_shape(
        points, prior.template, prior.mirror, prior.weights, prior.eye_corners, prior.eye_distance
    )


def rotation_angles(rotation: Float[np.ndarray, "*batch 3 3"]) -> Float[np.ndarray, "*batch 3"]:
    """Return yaw, pitch and roll in degrees of head-to-camera rotations; a head that faces the camera upright has none.

    Yaw is positive when the head turns to its left, pitch when it looks up, roll when its crown leans to its left.
    """
    forward, up = rotation[..., :, 2], rotation[..., :, 1]
    yaw = np.degrees(np.arctan2(forward[..., 0], -forward[..., 2]))
    pitch = np.degrees(np.arcsin(np.clip(-forward[..., 1], -1.0, 1.0)))
    roll = np.degrees(np.arctan2(up[..., 0], -up[..., 1]))
    return np.stack((yaw, pitch, roll), axis=-1)
