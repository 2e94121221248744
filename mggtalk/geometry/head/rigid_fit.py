"""Poses of a known head shape from image points: robust Gauss-Newton on the reprojection error, all frames at once.

Source: Hartley & Zisserman, Multiple View Geometry (2004), A6.3 (Gauss-Newton on SO(3) by left increments); robust
weights: Cauchy's, as iteratively reweighted least squares (Holland & Welsch, 1977).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from mggtalk.geometry.head.procrustes import align

_DAMPING = 1e-9
"""Relative; keeps the 6x6 systems regular where points coincide."""


@dataclass(frozen=True, slots=True, eq=False)
class Poses:
    """Rigid transforms from head space to the camera, one a frame.

    Attributes:
        translation: in cm; z > 0.
    """

    rotation: Float[np.ndarray, "num_frames 3 3"]
    translation: Float[np.ndarray, "num_frames 3"]

    def apply(self, shape: Float[np.ndarray, "num_points 3"]) -> Float[np.ndarray, "num_frames num_points 3"]:
        """Return the points of head space in the camera frame of every frame."""
        return np.asarray(shape @ self.rotation.transpose(0, 2, 1) + self.translation[:, None])

    def take(self, frames: slice) -> "Poses":
        """Return the poses of some of the frames."""
        return Poses(self.rotation[frames], self.translation[frames])


def first_poses(
    shape: Float[np.ndarray, "num_points 3"],
    landmarks: Float[np.ndarray, "num_frames num_points 3"],
    weights: Float[np.ndarray, " num_points"],
    focal: float,
) -> Poses:
    """Return rough poses from landmarks with relative depth, as if each head were seen from afar along its own ray.

    Args:
        landmarks: x, y in pixels from the principal point and z in the same unit, relative to the head.
        focal: in pixels.
    """
    seen = align(shape, landmarks, weights)
    rays = np.concatenate((seen.translation[:, :2] / focal, np.ones((len(landmarks), 1))), axis=1)
    return Poses(_towards(rays) @ seen.rotation, rays * (focal / seen.scale)[:, None])


def refine_poses(
    poses: Poses,
    shape: Float[np.ndarray, "num_points 3"],
    rays: Float[np.ndarray, "num_frames num_points 2"],
    weights: Float[np.ndarray, " num_points"],
    tolerance_cm: float,
    iterations: int,
) -> Poses:
    """Return the poses after some steps towards the least robust reprojection error.

    Args:
        rays: x / z and y / z of where every point is seen.
        tolerance_cm: a point that is farther off than this, measured at the head, begins to lose its say.
    """
    rotation, translation = poses.rotation, poses.translation
    u, v = _by_axis(rays)
    for _ in range(iterations):
        turned = rotation @ shape.T  # frames, axes, points: one axis of all points lies together in memory
        inverse_z = 1.0 / (turned[:, 2] + translation[:, 2:])
        seen_u = (turned[:, 0] + translation[:, :1]) * inverse_z
        seen_v = (turned[:, 1] + translation[:, 1:2]) * inverse_z
        errors = np.concatenate((seen_u - u, seen_v - v), axis=1)
        squared = errors[:, : len(shape)] ** 2 + errors[:, len(shape) :] ** 2
        trust = weights / (1.0 + squared * (translation[:, 2:] / tolerance_cm) ** 2)
        step = _step(turned, (seen_u, seen_v), inverse_z, errors, trust)
        rotation = Rotation.from_rotvec(step[:, :3]).as_matrix() @ rotation
        translation = translation + step[:, 3:]
    return Poses(rotation, translation)


def reprojection_cm(
    poses: Poses, shape: Float[np.ndarray, "num_points 3"], rays: Float[np.ndarray, "num_frames num_points 2"]
) -> Float[np.ndarray, "num_frames num_points"]:
    """Return how far each point is seen from where the shape projects, in cm at the depth of the head."""
    camera = poses.rotation @ shape.T + poses.translation[..., None]
    u, v = _by_axis(rays)
    error_u, error_v = camera[:, 0] / camera[:, 2] - u, camera[:, 1] / camera[:, 2] - v
    return np.asarray(np.sqrt(error_u**2 + error_v**2) * poses.translation[:, 2:])


def _by_axis(rays: Float[np.ndarray, "num_frames num_points 2"]) -> tuple[np.ndarray, np.ndarray]:
    return np.ascontiguousarray(rays[..., 0]), np.ascontiguousarray(rays[..., 1])


def _step(
    turned: Float[np.ndarray, "num_frames 3 num_points"],
    seen: tuple[Float[np.ndarray, "num_frames num_points"], Float[np.ndarray, "num_frames num_points"]],
    inverse_z: Float[np.ndarray, "num_frames num_points"],
    errors: Float[np.ndarray, "num_frames two_num_points"],
    trust: Float[np.ndarray, "num_frames num_points"],
) -> Float[np.ndarray, "num_frames 6"]:
    """Return the Gauss-Newton step of each pose: a rotation vector applied from the left, and a shift in cm.

    Args:
        seen, errors: where the points project and how far off that is, the errors of all u before those of all v.
    """
    num_frames, _, num_points = turned.shape
    (x, y, z), (u, v) = np.moveaxis(turned, 1, 0), seen
    jacobian = np.zeros((num_frames, 6, 2, num_points))
    # Derivatives of (X/Z, Y/Z), times Z; a small rotation moves the turned point by (rotation vector) x point.
    jacobian[:, 0, 0], jacobian[:, 0, 1] = -u * y, -z - v * y
    jacobian[:, 1, 0], jacobian[:, 1, 1] = z + u * x, v * x
    jacobian[:, 2, 0], jacobian[:, 2, 1] = -y, x
    jacobian[:, 3, 0] = jacobian[:, 4, 1] = 1.0
    jacobian[:, 5, 0], jacobian[:, 5, 1] = -u, -v
    jacobian *= inverse_z[:, None, None]
    weighted = (jacobian * trust[:, None, None]).reshape(num_frames, 6, -1)
    normal = weighted @ jacobian.reshape(num_frames, 6, -1).transpose(0, 2, 1)
    normal += np.eye(6) * _DAMPING * np.trace(normal, axis1=1, axis2=2)[:, None, None]
    return np.asarray(-np.linalg.solve(normal, weighted @ errors[..., None])[..., 0])


def _towards(rays: Float[np.ndarray, "num_frames 3"]) -> Float[np.ndarray, "num_frames 3 3"]:
    """Return the smallest rotations that turn the optical axis into the rays."""
    angle = np.arctan2(np.hypot(rays[:, 0], rays[:, 1]), rays[:, 2])
    across = np.stack((-rays[:, 1], rays[:, 0], np.zeros(len(rays))), axis=1)
    length = np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12)
    return np.asarray(Rotation.from_rotvec(across / length * angle[:, None]).as_matrix())
