"""Depth backend `facemesh`: the landmarks' surface inside the face, extended smoothly over the rest of the head.

Outside the mesh a mean head (an ellipsoid in head space) gives the depth, bent so that it meets the mesh's border.
Good for hair and ears to a centimetre or two; network backends do better.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32
from scipy import ndimage

from mggtalk.perception.landmark_sets import LandmarkSet

# A mean head in head space (outer eye corners 8.9 cm apart), our choice: breadth 15.5, length 19.5, chin to crown
# 23 cm, and 5 mm of hair. Its face side lies within a centimetre of MediaPipe's canonical face at forehead and cheeks.
HEAD_CENTER = np.array([0.0, 2.1, -3.8])
HEAD_RADII = np.array([8.3, 12.0, 10.2])
_BLEND_CM = 4.0
_LEAST_COSINE = 0.2  # seen from the side, a triangle is a wall whose depth at a pixel is chance


def head_depth(
    landmarks: Float[np.ndarray, "num_landmarks 3"],
    head_to_camera: Float[np.ndarray, "4 4"],
    intrinsics: Float[np.ndarray, "3 3"],
    head: Bool[np.ndarray, "height width"],
    landmark_set: LandmarkSet,
) -> Float32[np.ndarray, "height width"]:
    """Return z in cm of the head's visible surface at every pixel of `head`, 0 elsewhere.

    The mesh gives it where it faces the camera.

    Args:
        landmarks: head space, cm. intrinsics: pixels of the mask.
    """
    height, width = head.shape
    points = landmark_set.surface(landmarks) @ head_to_camera[:3, :3].T + head_to_camera[:3, 3]
    pixels = points[:, :2] / points[:, 2:] * intrinsics[[0, 1], [0, 1]] + intrinsics[:2, 2]
    triangles = landmark_set.triangles[_facing_cosine(points[landmark_set.triangles]) > _LEAST_COSINE]
    mesh = rasterize_depth(pixels, points[:, 2], triangles, height, width)
    ellipsoid = ellipsoid_depth(head_to_camera, intrinsics, height, width)
    on_mesh = mesh > 0
    if not on_mesh.any():
        return np.where(head, ellipsoid, 0.0).astype(np.float32)
    distance, nearest = ndimage.distance_transform_edt(~on_mesh, return_indices=True)
    step = (mesh - ellipsoid)[nearest[0], nearest[1]]
    pixels_per_cm = intrinsics[0, 0] / points[:, 2].mean()
    # Neighbouring pixels may have far-apart nearest mesh pixels; smoothing hides the seams and leaves the mesh alone.
    step = np.where(on_mesh, step, cv2.GaussianBlur(step, (0, 0), max(0.3 * pixels_per_cm, 0.5)))
    fade = np.exp(-((distance / (_BLEND_CM * pixels_per_cm)) ** 2))
    return np.where(head, np.where(on_mesh, mesh, ellipsoid + step * fade), 0.0).astype(np.float32)


def rasterize_depth(
    pixels: Float[np.ndarray, "num_vertices 2"],
    depth: Float[np.ndarray, " num_vertices"],
    triangles: np.ndarray,
    height: int,
    width: int,
) -> Float[np.ndarray, "height width"]:
    """Return the nearest z of a triangle mesh at every pixel centre, 0 where there is none.

    All (triangle, pixel) pairs of the triangles' bounding boxes are tested at once; there is no loop over triangles.
    Depth is interpolated linearly in the image, which on triangles of half a centimetre is exact enough.
    """
    corners = pixels[triangles]
    low = np.clip(np.ceil(corners.min(axis=1) - 0.5), 0, (width, height)).astype(int)
    high = np.clip(np.floor(corners.max(axis=1) - 0.5) + 1, low, (width, height)).astype(int)
    extent = high - low
    count = extent[:, 0] * extent[:, 1]
    triangle = np.repeat(np.arange(len(triangles)), count)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    column = low[triangle, 0] + within % extent[triangle, 0]
    row = low[triangle, 1] + within // extent[triangle, 0]
    first, second, third = (corners[triangle, index] for index in range(3))
    point = np.stack((column, row), axis=1) + 0.5
    area = _cross(second - first, third - first)
    with np.errstate(divide="ignore", invalid="ignore"):
        share_second = _cross(point - first, third - first) / area
        share_third = _cross(second - first, point - first) / area
    inside = (share_second >= 0) & (share_third >= 0) & (share_second + share_third <= 1)
    z = depth[triangles[triangle]]
    value = z[:, 0] + share_second * (z[:, 1] - z[:, 0]) + share_third * (z[:, 2] - z[:, 0])
    nearest = np.full(height * width, np.inf)
    np.minimum.at(nearest, (row * width + column)[inside], value[inside])
    return np.where(np.isfinite(nearest), nearest, 0.0).reshape(height, width)


def ellipsoid_depth(
    head_to_camera: Float[np.ndarray, "4 4"], intrinsics: Float[np.ndarray, "3 3"], height: int, width: int
) -> Float[np.ndarray, "height width"]:
    """Return z in cm where each pixel's ray meets the mean head, or passes closest to its surface."""
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    rays = np.stack(
        (
            (columns - intrinsics[0, 2]) / intrinsics[0, 0],
            (rows - intrinsics[1, 2]) / intrinsics[1, 1],
            np.ones_like(columns),
        ),
        axis=-1,
    )
    camera_to_head = head_to_camera[:3, :3].T
    direction = (rays @ camera_to_head.T) / HEAD_RADII
    origin = (-camera_to_head @ head_to_camera[:3, 3] - HEAD_CENTER) / HEAD_RADII
    squared = (direction**2).sum(axis=-1)
    along = -(direction @ origin) / squared
    discriminant = along**2 - (origin @ origin - 1.0) / squared
    return np.asarray(along - np.sqrt(np.maximum(discriminant, 0.0)))


def _facing_cosine(corners: Float[np.ndarray, "num_triangles 3 3"]) -> Float[np.ndarray, " num_triangles"]:
    """Return the cosine between each triangle's outward normal and the way to the camera; corners in its frame."""
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    center = corners.mean(axis=1)
    lengths = np.linalg.norm(normal, axis=1) * np.linalg.norm(center, axis=1)
    return np.asarray(-(normal * center).sum(axis=1) / np.maximum(lengths, 1e-12))


def _cross(first: Float[np.ndarray, "n 2"], second: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, " n"]:
    return np.asarray(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])
