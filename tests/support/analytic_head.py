"""Heads whose depth, normals and symmetry plane are known exactly, seen by a pinhole camera at any yaw."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from mggtalk.perception.depth.mesh_depth import rasterize
from tests.support.heads import LANDMARKS, Ellipsoid, rigid, turned

SKULL = Ellipsoid((0.0, 0.0, 0.0), (8.0, 11.5, 10.0))
NOSE = Ellipsoid((0.0, -1.0, 10.0), (1.6, 2.5, 2.5))
TRANSLATION = np.array([0.0, 0.0, 60.0])
YAWS = (0, 15, 30, 45)
JUMP_CM = 0.3


@dataclass(frozen=True)
class View:
    """Depth, normals (camera frame), pose and camera of one image; and which body, or facet, each pixel shows."""

    depth: np.ndarray
    normals: np.ndarray
    part: np.ndarray
    head_to_camera: np.ndarray
    intrinsics: np.ndarray

    @property
    def known(self):
        return self.depth > 0

    def tensors(self, depth=None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Depth (or another), normals, pose and intrinsics as a batch of one."""
        arrays = (self.depth if depth is None else depth, self.normals, self.head_to_camera, self.intrinsics)
        first, second, third, fourth = (torch.from_numpy(array.astype(np.float32))[None] for array in arrays)
        return first, second, third, fourth

    def noisy(self, scale_cm, seed=0):
        noise = np.random.default_rng(seed).normal(scale=scale_cm, size=self.depth.shape)
        return np.where(self.known, self.depth + noise, 0.0)

    def points(self):
        """Every pixel's point of head space; rows and columns as in the image."""
        pixels = pixel_rays(self.depth.shape[0], self.intrinsics)
        return (pixels * self.depth[..., None] - self.head_to_camera[:3, 3]) @ self.head_to_camera[:3, :3]


def camera(size):
    return np.array([[2.0 * size, 0, size / 2], [0, 2.0 * size, size / 2], [0, 0, 1]])


def pixel_rays(size, intrinsics):
    columns, rows = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    return np.stack((columns, rows, np.ones_like(columns)), axis=-1) @ np.linalg.inv(intrinsics).T


@cache
def analytic_view(yaw_deg: float, size: int = 512) -> View:
    """An ellipsoid with a nose, which turns to its left."""
    rotation, intrinsics = turned(yaw_deg), camera(size)
    depths = [body.depth(rotation, TRANSLATION, intrinsics, size) for body in (SKULL, NOSE)]
    nearest, part = np.minimum(*depths), np.argmin(depths, axis=0)
    depth = np.where(np.isfinite(nearest), nearest, 0.0)
    points = (pixel_rays(size, intrinsics) * depth[..., None] - TRANSLATION) @ rotation
    normals = np.where((part == 0)[..., None], outward(SKULL, points), outward(NOSE, points)) @ rotation.T
    normals[depth == 0] = 0.0
    return View(depth, normals, part, rigid(rotation, TRANSLATION), intrinsics)


@cache
def mesh_view(yaw_deg: float, size: int = 512) -> View:
    """The neutral landmark mesh, which turns to its left."""
    rotation, intrinsics = turned(yaw_deg), camera(size)
    corners = LANDMARKS.neutral @ rotation.T + TRANSLATION
    pixels = corners[:, :2] / corners[:, 2:] * intrinsics[0, 0] + size / 2
    triangles = LANDMARKS.triangles
    first, second, third = (corners[triangles[:, index]] for index in range(3))
    facets = np.cross(second - first, third - first)
    facets /= np.linalg.norm(facets, axis=1, keepdims=True)
    facing = np.flatnonzero((facets * first).sum(axis=1) < 0)
    seen = rasterize(pixels, corners[:, 2], triangles[facing], size, size)
    known, part = seen.covered, np.full((size, size), -1)
    part[known] = facing[seen.triangle]
    # On its plane exactly: the rasteriser's own depth is linear in the image.
    normals = np.where(known[..., None], facets[part], 0.0)
    along = (facets * first).sum(axis=1)[part]
    depth = np.where(known, along / np.where(known, (normals * pixel_rays(size, intrinsics)).sum(axis=-1), 1.0), 0.0)
    return View(depth, normals, part, rigid(rotation, TRANSLATION), intrinsics)


def outward(body, points):
    """Unit normals of the ellipsoids through the points."""
    normal = (points - np.array(body.center)) / np.square(body.radii)
    return normal / np.linalg.norm(normal, axis=-1, keepdims=True)


def jumps(view):
    """Pixels on either side of where one part hides another."""
    marked = np.zeros(view.depth.shape, bool)
    for axis in (0, 1):
        both = np.diff(view.known.astype(int), axis=axis) == 0
        edge = (np.abs(np.diff(view.depth, axis=axis)) > JUMP_CM) & (np.diff(view.part, axis=axis) != 0) & both
        for part in (slice(1, None), slice(None, -1)):
            marked[(slice(None),) * axis + (part,)] |= edge
    return marked & view.known


def distance_cm(points):
    """Return the distance of points of head space from the surface of the analytic head, to first order."""
    distances = []
    for body in (SKULL, NOSE):
        offset = points - np.array(body.center)
        level = body.level(points)
        gradient = np.linalg.norm(offset / np.square(body.radii), axis=-1) / np.maximum(level, 1e-9)
        distances.append((level - 1) / gradient)
    return np.abs(np.minimum(*distances))
