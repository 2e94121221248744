"""Synthetic heads for the geometry tests: analytic surfaces seen by a pinhole camera, and a symmetric landmark head."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from mggtalk.geometry.head.head_shape import ShapePrior
from mggtalk.geometry.head.landmark_sets import EYE_DISTANCE_CM, mediapipe_478
from mggtalk.geometry.head.procrustes import align

FACING = np.diag([1.0, -1.0, -1.0])
"""Head-to-camera rotation of a head that looks into the camera upright."""

LANDMARKS = mediapipe_478()
PRIOR = ShapePrior(
    LANDMARKS.neutral, LANDMARKS.mirror, LANDMARKS.alignment_weights, LANDMARKS.eye_corners, EYE_DISTANCE_CM
)
RIGID = LANDMARKS.alignment_weights > 0
FRAME_SIZE = (1280, 720)


@dataclass(frozen=True)
class Ellipsoid:
    """A solid in head space."""

    center: tuple[float, float, float]
    radii: tuple[float, float, float]

    def level(self, points):
        """1 on the surface, below 1 inside."""
        return np.sqrt((((points - np.array(self.center)) / np.array(self.radii)) ** 2).sum(axis=-1))

    def depth(self, rotation, translation, intrinsics, size):
        """z of the first hit of every pixel's ray; infinite where the ray misses."""
        columns, rows = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
        pixels = np.stack((columns, rows, np.ones_like(columns)), axis=-1)
        direction = pixels @ np.linalg.inv(intrinsics).T @ rotation / self.radii
        origin = (-translation @ rotation - self.center) / self.radii
        a, b, c = (direction**2).sum(-1), direction @ origin, origin @ origin - 1
        root = b**2 - a * c
        return np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)


def turned(yaw_deg=0.0, pitch_deg=0.0, roll_deg=0.0):
    """Head-to-camera rotations of a head that turns to its left, looks up and leans its crown to its left."""
    angles = np.stack(np.broadcast_arrays(yaw_deg, -np.asarray(pitch_deg), -np.asarray(roll_deg)), axis=-1)
    return FACING @ Rotation.from_euler("YXZ", angles, degrees=True).as_matrix()


def rigid(rotation, translation):
    """The 4x4 transform."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, translation
    return matrix


def symmetric_shape(seed):
    """An individual symmetric face, up to 1 cm from the template, at its position, with eye corners 8.9 cm apart."""
    neutral = LANDMARKS.neutral
    x, y, z = neutral.T
    bases = np.stack((0.2 * x**2, y, z, 0.2 * y**2, 0.2 * y * z, 0.2 * z**2), axis=1)
    bent = neutral + bases @ np.random.default_rng(seed).normal(scale=0.015, size=(6, 3))
    shape = 0.5 * (bent + bent[LANDMARKS.mirror] * (-1, 1, 1))
    shape *= EYE_DISTANCE_CM / np.linalg.norm(np.subtract(*shape[list(LANDMARKS.eye_corners)]))
    fit = align(shape, neutral[None], LANDMARKS.alignment_weights, with_scale=False)
    return shape @ fit.rotation[0].T + fit.translation[0]


@dataclass(frozen=True)
class FilmedHead:
    """A head before a pinhole camera, and what a landmarker with noise would say of it."""

    shape: np.ndarray
    rotation: np.ndarray
    observed: np.ndarray


def jaw_share(shape):
    """Return the fraction of the jaw's movement that each landmark follows: 0 above the mouth, 1 from 5 cm below."""
    return np.clip((-3 - shape[:, 1]) / 5, 0, 1)


def filmed_head(seed, max_yaw_deg, *, jaw_drop_cm=0.0, noise_px=0.3, distance_cm=60.0, num_frames=25):
    """A head that turns from one side to the other while it nods, leans and moves; every third frame drops its jaw."""
    step = np.arange(num_frames)
    shape = symmetric_shape(seed)
    rotation = turned(np.linspace(-max_yaw_deg, max_yaw_deg, num_frames), 10 * np.sin(0.7 * step), 8 * np.cos(step / 2))
    translation = np.stack((3 * np.sin(0.3 * step), 2 * np.cos(0.4 * step), distance_cm + 2 * np.sin(step / 5)), axis=1)
    shapes = np.tile(shape, (num_frames, 1, 1))
    shapes[::3] -= jaw_share(shape)[:, None] * jaw_drop_cm * np.array([0, 1.0, 0.3])
    camera = np.einsum("tij,tnj->tni", rotation, shapes) + translation[:, None]
    focal = 800.0
    pixels = camera[..., :2] / camera[..., 2:] * focal + np.array(FRAME_SIZE) / 2
    # MediaPipe's z: relative to the head, in pixels of the image at the head's distance; three times as noisy.
    relative = (camera[..., 2:] - translation[:, None, 2:]) * focal / translation[:, None, 2:]
    noise = np.random.default_rng(seed).normal(scale=noise_px, size=shapes.shape) * (1, 1, 3)
    return FilmedHead(shape, rotation, np.concatenate((pixels, relative), axis=-1) + noise)


def angle_deg(first, second):
    """Angle between rotations, by frame."""
    return np.degrees(np.linalg.norm(Rotation.from_matrix(first @ np.swapaxes(second, -1, -2)).as_rotvec(), axis=-1))
