"""Projects the neutral face into a camera, for perception tests without people."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from mggtalk.geometry.head.landmark_sets import LandmarkSet, ibug_68, mediapipe_478
from mggtalk.perception.depth.mesh_depth import HEAD_CENTER, HEAD_RADII, rasterize_depth

LANDMARKS = mediapipe_478()
LANDMARK_SETS = (mediapipe_478(), ibug_68())
SIZE = 256
INTRINSICS = np.array([[460.0, 0, 128], [0, 460, 128], [0, 0, 1]])
_FACING = np.diag([1.0, -1.0, -1.0])


@dataclass(frozen=True)
class PosedFace:
    """The neutral landmarks at a pose, as a tracker returns them."""

    head_to_camera: np.ndarray
    pixels: np.ndarray
    depth: np.ndarray
    landmark_set: LandmarkSet

    @property
    def up(self):
        """Direction of the crown in the image."""
        return self.head_to_camera[:2, 1]

    @property
    def surface_depth(self):
        """The depth map of the landmarks' surface alone."""
        vertices = project(self.landmark_set.surface(self.landmark_set.neutral), self.head_to_camera)
        return rasterize_depth(vertices[:, :2], vertices[:, 2], self.landmark_set.triangles, SIZE, SIZE)


def posed_face(yaw_deg=0.0, pitch_deg=0.0, roll_deg=0.0, distance_cm=63.0, landmarks=LANDMARKS):
    """Return the neutral face of a landmark set, turned to its left, looking up, its crown leaning to its left."""
    pose = np.eye(4)
    pose[:3, :3] = _FACING @ Rotation.from_euler("YXZ", (yaw_deg, -pitch_deg, -roll_deg), degrees=True).as_matrix()
    pose[:3, 3] = (0, 1, distance_cm)
    points = project(landmarks.neutral, pose)
    return PosedFace(pose, points[:, :2], points[:, 2], landmarks)


def project(points, pose):
    """Return columns, rows and z of points of head space."""
    camera = points @ pose[:3, :3].T + pose[:3, 3]
    image = camera @ INTRINSICS.T
    return np.column_stack((image[:, :2] / image[:, 2:], camera[:, 2]))


def solid(pose, center, radii):
    """Return the pixels whose ray meets an ellipsoid of head space."""
    columns, rows = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    rays = np.stack((columns, rows, np.ones_like(columns)), axis=-1) @ np.linalg.inv(INTRINSICS).T
    direction = rays @ pose[:3, :3] / radii
    origin = (-pose[:3, 3] @ pose[:3, :3] - center) / radii
    return (direction @ origin) ** 2 >= (direction**2).sum(-1) * (origin @ origin - 1)


def person(pose):
    """Return masks of a person's parts: head (with hair around the skull), neck, and shoulders."""
    return {
        "head": solid(pose, HEAD_CENTER, HEAD_RADII),
        "neck": solid(pose, (0, -14, -5), (5.5, 8, 5.5)),
        "shoulders": solid(pose, (0, -22, -6), (21, 9, 9)),
    }
