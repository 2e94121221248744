"""One rigid, symmetric head shape and one camera from the landmarks of many frames: a small bundle adjustment.

A landmarker locates points well in the image but not in depth: its depth bends as the head turns. So only image
positions count here, in all frames at once; depth follows from the turning of a symmetric shape, and from the
landmarker alone where the head does not turn.

Source: Triggs et al., Bundle Adjustment: A Modern Synthesis (2000), by alternation of poses and points; the mirror
permutation enters as a constraint (each mirrored pair is one unknown point). Deviations: none published does this for
MediaPipe's landmarks.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int64
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

from mggtalk.geometry.head.procrustes import align, solve_symmetric_shape
from mggtalk.geometry.head.rigid_fit import Poses, first_poses, refine_poses, reprojection_cm

KEY_FRAMES = 32
"""With 200 the shape moves by 0.1 mm (median over the landmarks of 17 real clips of up to 10 s)."""
TOLERANCE_CM = 0.2
"""About twice the landmarker's noise; see `refine_poses`."""

POSE_LANDMARKS = 4
"""A fourth of the landmarks gives the pose to 0.12 degrees of that of all (median over the same clips; 95 %: 0.4)."""
_ROUNDS = 4
_POSE_STEPS = 2
_PRIOR_WEIGHT = 0.05
"""Of the landmarker's own depth, per frame: as much as a turn of 13 degrees says (its squared sine)."""
_MIRROR = np.array([-1.0, 1.0, 1.0])

_FITTING_STEP, _FITTING = 8, 5.0
"""An eighth of the landmarks tells whether a frame is bad: five times as far from a head as the median frame; a mouth
that opens wide makes it three times."""
_PERSPECTIVES = (0.3, 0.65, 1.0, 1.5, 2.2)
"""Candidates, as assumed distance over distance: errors are symmetric about the truth in these, not in distances."""
_FOCAL_STEP = 3
"""With all landmarks the focal length changes by 5 % (median over the same clips)."""
_MOUTH_CM, _JAW_WEIGHT = -2.5, 0.3
"""Height of the upper lip in head space, and the weight of what lies below: a jaw that drops passes for perspective."""
_FOCAL_ROUNDS = 3
_TELLING_DEG = 15.0
"""Spread of the pose from which on errors count in full: below, they lean to far cameras (by 1.5 in a head that stands
still), because a bent shape explains the perspective of one view."""
_FOCAL_GRID = 401
"""Steps of half a percent."""
_DISTANCE_SPREAD = 0.35
"""Standard deviation of the prior of the distance, which is log-normal."""
_ERROR_WEIGHT = 120.0
"""A distance whose error is 1/120 larger is e times less likely: errors of a landmarker are not independent. With this
and the prior the focal lengths of synthetic heads that turn by 15 to 45 degrees are right to 22 % (docs/results.md)."""


@dataclass(frozen=True, slots=True, eq=False)
class ShapePrior:
    """Prior of a head before its clip is seen: template, mirrored pairs, and the distance that fixes the scale."""

    template: Float[np.ndarray, "num_landmarks 3"]
    mirror: Int64[np.ndarray, " num_landmarks"]
    weights: Float[np.ndarray, " num_landmarks"]
    eye_corners: tuple[int, int]
    eye_distance: float

    def thinned(self, step: int) -> tuple["ShapePrior", Int64[np.ndarray, " num_kept"]]:
        """Return the prior of every `step`-th weighted landmark, its mirror and the eye corners; and their indices."""
        chosen = np.flatnonzero(self.weights)[::step]
        kept = np.unique(np.concatenate((chosen, self.mirror[chosen], self.eye_corners)))
        new_index = {int(index): number for number, index in enumerate(kept)}
        return ShapePrior(
            template=self.template[kept],
            mirror=np.array([new_index[int(index)] for index in self.mirror[kept]]),
            weights=self.weights[kept],
            eye_corners=(new_index[self.eye_corners[0]], new_index[self.eye_corners[1]]),
            eye_distance=self.eye_distance,
        ), kept


@dataclass(frozen=True, slots=True, eq=False)
class HeadShape:
    """A symmetric shape in head space, cm, and how much each landmark is to be trusted: 1 rigid, near 0 moving."""

    points: Float[np.ndarray, "num_landmarks 3"]
    trust: Float[np.ndarray, " num_landmarks"]


def estimate_focal(
    landmarks: Float[np.ndarray, "num_frames num_landmarks 3"], prior: ShapePrior, camera_distance: float
) -> float:
    """Return the focal length in pixels under which one rigid symmetric head explains the landmarks best.

    One image tells only focal length over distance. Perspective makes near parts larger, so a turning or nodding head
    tells both, faintly: a near phone stands out from a far camera. The assumed distance decides where it does not.

    Args:
        landmarks: x, y in pixels from the principal point and z in the same unit, relative to the head.
        camera_distance: where faces are assumed, in cm: the middle of a prior over the distance.
    """
    landmarks = _fitting_frames(landmarks, prior)
    prior, kept = prior.thinned(_FOCAL_STEP)
    prior = replace(prior, weights=prior.weights * np.where(prior.template[:, 1] < _MOUTH_CM, _JAW_WEIGHT, 1.0))
    key = landmarks[key_frames(len(landmarks), KEY_FRAMES // 2)][:, kept]
    seen = align(prior.template, key, prior.weights)
    scale = float(np.median(seen.scale))
    costs = []
    for focal in scale * camera_distance / np.array(_PERSPECTIVES):
        shape, poses = _adjust(key, prior, focal, rounds=_FOCAL_ROUNDS)
        error = reprojection_cm(poses, shape.points, key[..., :2] / focal)
        costs.append(shape.trust @ np.median(error, axis=0) / shape.trust.sum())
    between = np.geomspace(_PERSPECTIVES[0], _PERSPECTIVES[-1], _FOCAL_GRID)
    turning = min(_spread_deg(seen.rotation) / _TELLING_DEG, 1.0) ** 2
    negative_log_posterior = turning * _ERROR_WEIGHT * CubicSpline(_PERSPECTIVES, np.log(costs))(between)
    negative_log_posterior += 0.5 * (np.log(between) / _DISTANCE_SPREAD) ** 2
    return scale * camera_distance / float(between[np.argmin(negative_log_posterior)])


def solve_head_shape(
    landmarks: Float[np.ndarray, "num_frames num_landmarks 3"], prior: ShapePrior, focal: float
) -> HeadShape:
    """Return the rigid symmetric shape that explains where the landmarks are seen; see `estimate_focal` for `Args`."""
    landmarks = _fitting_frames(landmarks, prior)
    key = landmarks[key_frames(len(landmarks), KEY_FRAMES)]
    return _adjust(key, prior, focal, _ROUNDS)[0]


def key_frames(num_frames: int, most: int) -> Int64[np.ndarray, " num_key_frames"]:
    """Return at most `most` frames, evenly spread."""
    return np.unique(np.linspace(0, num_frames - 1, min(most, num_frames)).round().astype(np.int64))


def _fitting_frames(
    landmarks: Float[np.ndarray, "num_frames num_landmarks 3"], prior: ShapePrior
) -> Float[np.ndarray, "num_kept num_landmarks 3"]:
    """Return the frames whose landmarks look like a head as much as those of other frames do."""
    few, kept = prior.thinned(_FITTING_STEP)
    seen = align(few.template, landmarks[:, kept], few.weights)
    off = np.linalg.norm(seen.inverse_apply(landmarks[:, kept]) - few.template, axis=-1).mean(axis=1)
    return np.asarray(landmarks[off <= _FITTING * np.median(off)])


def _spread_deg(rotation: Float[np.ndarray, "num_frames 3 3"]) -> float:
    """Return how far rotations lie from their mean, root mean square, in degrees."""
    rotations = Rotation.from_matrix(rotation)
    return float(np.degrees(np.sqrt(np.mean((rotations.mean().inv() * rotations).magnitude() ** 2))))


def _depth_prior(
    landmarks: Float[np.ndarray, "num_frames num_landmarks 3"], prior: ShapePrior, focal: float
) -> Float[np.ndarray, "num_landmarks 3"]:
    """Return the shape by the landmarker's own depth, every point unprojected through its pixel."""
    seen = align(prior.template, landmarks, prior.weights)
    depth = (focal + landmarks[..., 2] - seen.translation[:, None, 2]) / seen.scale[:, None]
    rays = np.concatenate((landmarks[..., :2] / focal, np.ones_like(depth)[..., None]), axis=-1)
    shape, _ = solve_symmetric_shape(
        rays * depth[..., None], prior.template, prior.mirror, prior.weights, prior.eye_corners, prior.eye_distance
    )
    return shape


def _adjust(
    landmarks: Float[np.ndarray, "num_frames num_landmarks 3"], prior: ShapePrior, focal: float, rounds: int
) -> tuple[HeadShape, Poses]:
    rays = landmarks[..., :2] / focal
    start = _depth_prior(landmarks, prior, focal)
    shape = HeadShape(start, prior.weights)
    poses = first_poses(start, landmarks, prior.weights, focal)
    _, few = prior.thinned(POSE_LANDMARKS)
    for _ in range(rounds):
        poses = refine_poses(poses, shape.points[few], rays[:, few], shape.trust[few], TOLERANCE_CM, _POSE_STEPS)
        points = _symmetric_points(poses, shape.points, rays, start, prior)
        points, poses = _in_head_space(points, poses, prior)
        error = (reprojection_cm(poses, points, rays) ** 2).mean(axis=0)
        error = 0.5 * (error + error[prior.mirror])
        trust = prior.weights / (error + np.median(error[prior.weights > 0]) + 1e-9)
        shape = HeadShape(points, trust / trust.max())
    return shape, poses


def _symmetric_points(
    poses: Poses,
    shape: Float[np.ndarray, "num_landmarks 3"],
    rays: Float[np.ndarray, "num_frames num_landmarks 2"],
    start: Float[np.ndarray, "num_landmarks 3"],
    prior: ShapePrior,
) -> Float[np.ndarray, "num_landmarks 3"]:
    """Return the points that lie nearest to their rays in all frames: a 3x3 system for each mirrored pair."""
    trust = 1.0 / (1.0 + (reprojection_cm(poses, shape, rays) / TOLERANCE_CM) ** 2)
    # A bad frame is bad in most of its points.
    trust *= np.median(trust, axis=1, keepdims=True)
    rotation, translation = poses.rotation[:, None], poses.translation[:, None]
    normal = np.tile(np.eye(3) * _PRIOR_WEIGHT * trust.sum() / trust.shape[1], (len(shape), 1, 1))
    right = normal[0, 0, 0] * start
    for axis in (0, 1):
        ray = rays[..., axis, None]
        row = rotation[..., axis, :] - ray * rotation[..., 2, :]
        target = ray[..., 0] * translation[..., 2] - translation[..., axis]
        weighted = (row * trust[..., None]).transpose(1, 2, 0)
        normal += weighted @ row.transpose(1, 0, 2)
        right += (weighted @ target.T[..., None])[..., 0]
    mirrored_normal = normal[prior.mirror] * _MIRROR * _MIRROR[:, None]
    points = np.linalg.solve(normal + mirrored_normal, (right + right[prior.mirror] * _MIRROR)[..., None])
    return np.asarray(points[..., 0])


def _in_head_space(
    points: Float[np.ndarray, "num_landmarks 3"], poses: Poses, prior: ShapePrior
) -> tuple[Float[np.ndarray, "num_landmarks 3"], Poses]:
    """Return shape and poses with the origin, axes and scale of head space; nothing moves in the image."""
    scale = prior.eye_distance / np.linalg.norm(points[prior.eye_corners[0]] - points[prior.eye_corners[1]])
    fit = align(points * scale, prior.template[None], prior.weights, with_scale=False)
    turn, shift = fit.rotation[0], fit.translation[0]
    rotation = poses.rotation @ turn.T
    return points * scale @ turn.T + shift, Poses(rotation, poses.translation * scale - rotation @ shift)
