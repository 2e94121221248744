"""Draws docs/overview.png from MediaPipe's canonical face: the output of `shards` for a head turned by 30 degrees.

    python scripts/make_overview.py

It shows no real person: the head is the neutral landmark mesh in front of the mean head of
`perception/depth/mesh_depth.py`.
"""

from pathlib import Path

import cv2
import numpy as np
import torch

from mggtalk.geometry.head.landmark_sets import mediapipe_478
from mggtalk.geometry.head_cloud import symmetric_points
from mggtalk.geometry.normal_integration import integrate_normals
from mggtalk.perception.depth.head_geometry import FaceMeshGeometry, HeadViews
from mggtalk.perception.depth.mesh_depth import HEAD_CENTER, HEAD_RADII
from mggtalk.visualization.images import draw_cloud, draw_depth

SIZE = 320
YAW = np.radians(30.0)


def main() -> None:
    """Draw landmarks, depth, normals and the symmetric cloud side by side."""
    landmarks = mediapipe_478()
    head_to_camera = np.eye(4)
    turn = np.array([[np.cos(YAW), 0, np.sin(YAW)], [0, 1, 0], [-np.sin(YAW), 0, np.cos(YAW)]])
    head_to_camera[:3, :3] = np.diag([1.0, -1.0, -1.0]) @ turn
    head_to_camera[:3, 3] = (0.0, 2.0, 90.0)
    intrinsics = np.array([[900.0, 0, SIZE / 2], [0, 900.0, SIZE / 2], [0, 0, 1]])
    pixels = _project(landmarks.neutral, head_to_camera, intrinsics)
    head = _head_mask(pixels, head_to_camera, intrinsics)
    blank = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    views = HeadViews(blank, head[None], np.ones_like(head), landmarks.neutral[None], head_to_camera[None], intrinsics)
    seen = FaceMeshGeometry(landmarks)(views)
    camera = torch.as_tensor(intrinsics, dtype=torch.float32)[None]
    pose = torch.as_tensor(head_to_camera, dtype=torch.float32)[None]
    normals = torch.from_numpy(seen.normals)
    surface = integrate_normals(torch.from_numpy(seen.depth), normals, camera)
    points = symmetric_points(surface, normals, pose, camera, torch.from_numpy(~head)[None], 1, 0.3)
    depth = surface[0].numpy()
    dots = np.full((SIZE, SIZE, 3), 255, np.uint8)
    for x, y in pixels:
        cv2.circle(dots, (round(x), round(y)), 2, (40, 90, 200), -1, cv2.LINE_AA)
    shaded = np.where(head[..., None], (normals[0].numpy() * (1, -1, -1) * 0.5 + 0.5) * 255, 255).astype(np.uint8)
    drawn = draw_cloud(points.clouds(1)[0], SIZE)
    opacity = drawn[..., 3:] / 255.0
    turned = (drawn[..., :3] * opacity + 255 * (1 - opacity)).astype(np.uint8)
    depth_image = np.where(head[..., None], draw_depth(depth), 255).astype(np.uint8)
    panels = [dots, depth_image, shaded, turned]
    image = np.hstack([_fitted(panel) for panel in panels])
    cv2.imwrite(str(Path(__file__).parents[1] / "docs" / "overview.png"), image[..., ::-1])


def _project(points: np.ndarray, head_to_camera: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    camera = points @ head_to_camera[:3, :3].T + head_to_camera[:3, 3]
    return np.asarray(camera[:, :2] / camera[:, 2:] * intrinsics[[0, 1], [0, 1]] + intrinsics[:2, 2])


def _head_mask(pixels: np.ndarray, head_to_camera: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Return the silhouette of the mean head and the face, above the chin."""
    directions = np.random.default_rng(0).normal(size=(4000, 3))
    surface = HEAD_CENTER + HEAD_RADII * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    skull = _project(surface[surface[:, 1] > -6.0], head_to_camera, intrinsics)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    for points in (skull, pixels):
        cv2.fillConvexPoly(mask, cv2.convexHull(points.astype(np.int32)), 1)
    return mask > 0


def _fitted(panel: np.ndarray) -> np.ndarray:
    scale = SIZE / panel.shape[0]
    return cv2.resize(panel, (round(panel.shape[1] * scale), SIZE), interpolation=cv2.INTER_AREA)


if __name__ == "__main__":
    main()
