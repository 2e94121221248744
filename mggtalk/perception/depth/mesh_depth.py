"""Depth backend `facemesh`: the landmarks' surface inside the face, extended smoothly over the rest of the head.

Outside the mesh, depth comes from a mean head (an ellipsoid in head space), scaled in every direction to the width of
the mask, and bent to meet the mesh's border. Its error at hair and ears is one or two centimetres.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from scipy import ndimage

from mggtalk.geometry.head.landmark_sets import LandmarkSet
from mggtalk.geometry.normals import normals_from_depth

# A mean head in head space (outer eye corners 8.9 cm apart), our choice: breadth 15.5, length 19.5, chin to crown
# 23 cm, and 5 mm of hair. Its face side lies within a centimetre of MediaPipe's canonical face at forehead and cheeks.
HEAD_CENTER = np.array([0.0, 2.1, -3.8])
HEAD_RADII = np.array([8.3, 12.0, 10.2])
_BLEND_CM = 4.0
_SMOOTH_CM = 0.5
"""Around the mesh, normals are averaged over twice this distance, to avoid a fold where the mean head begins."""
_STEP_CM = 1.0
_DIRECTIONS = 72
_NARROWEST, _WIDEST = 0.8, 1.8
"""Limits of the width relative to the mean head's own: a bald head, and hair to the shoulders."""
_LEAST_COSINE = 0.2  # a triangle seen edge-on is steep, so its depth at a pixel centre is arbitrary


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceMaps:
    """A head's visible surface in the camera frame.

    Attributes:
        depth: z in cm, 0 outside the head. normals: unit, towards the camera; 0 where unknown.
    """

    depth: Float32[np.ndarray, "height width"]
    normals: Float32[np.ndarray, "height width 3"]


def head_surface(
    landmarks: Float[np.ndarray, "num_landmarks 3"],
    head_to_camera: Float[np.ndarray, "4 4"],
    intrinsics: Float[np.ndarray, "3 3"],
    head: Bool[np.ndarray, "height width"],
    cut: Bool[np.ndarray, "height width"],
    landmark_set: LandmarkSet,
) -> SurfaceMaps:
    """Return depth and normals at the pixels of `head`.

    The mesh is flat between its vertices, but its normals are those of a smooth face, so that surface reconstruction
    makes it round. Outside the mesh, normals are derived from depth and smoothed.

    Args:
        landmarks: head space, cm. intrinsics: pixels of the mask.
        cut: where the image ends; there the end of the mask is no outline of the head.
    """
    points = landmark_set.surface(landmarks) @ head_to_camera[:3, :3].T + head_to_camera[:3, 3]
    mesh, triangles = rasterize_facing(points, landmark_set.triangles, intrinsics, head.shape, _LEAST_COSINE)
    pixels_per_cm = intrinsics[0, 0] / points[:, 2].mean()
    mean_head = mean_head_depth(head_to_camera, intrinsics, head, cut)
    on_head = mesh.covered & head  # the head mask leaves out a hand in front of the cheek
    depth = _extended(mesh.depth, on_head, mean_head, pixels_per_cm) if on_head.any() else mean_head
    depth = np.where(head, depth, 0.0).astype(np.float32)
    camera = torch.as_tensor(intrinsics, dtype=torch.float32)[None]
    normals = normals_from_depth(torch.from_numpy(depth)[None], camera)[0][0].numpy()
    normals[mesh.covered] = unit(mesh.interpolate(vertex_normals(points, landmark_set.triangles)[triangles]))
    normals *= head[..., None]
    smooth = unit(_mean_over(normals, 2 * _SMOOTH_CM * pixels_per_cm))
    around = head & ~mesh.covered & normals.any(axis=-1)
    return SurfaceMaps(depth, np.where(around[..., None], smooth, normals))


def _extended(
    mesh: Float[np.ndarray, "height width"],
    on_mesh: Bool[np.ndarray, "height width"],
    mean_head: Float[np.ndarray, "height width"],
    pixels_per_cm: float,
) -> Float[np.ndarray, "height width"]:
    """Return the mesh's depth, and around it the mean head's, bent to meet the mesh's border."""
    distance, nearest = ndimage.distance_transform_edt(~on_mesh, return_indices=True)
    distance = distance.astype(np.float32) / np.float32(pixels_per_cm)
    step = np.where(on_mesh, mesh - mean_head, 0.0).astype(np.float32)
    # At the border use the step of the nearest mesh pixel; farther out the mean of all around, to avoid ripples.
    inside = cv2.erode(on_mesh.astype(np.uint8), np.ones((_box_px(_STEP_CM * pixels_per_cm),) * 2, np.uint8)) > 0
    border = (on_mesh & ~inside).astype(np.float32)
    width_px = 2 * _BLEND_CM * pixels_per_cm
    around = _mean_over(step * border, width_px) / np.maximum(_mean_over(border, width_px), 1e-6)
    near = np.exp(-((distance / _STEP_CM) ** 2))
    step = near * _mean_over(step[nearest[0], nearest[1]], 0.5 * pixels_per_cm) + (1 - near) * around
    return np.where(on_mesh, mesh, mean_head + step * np.exp(-((distance / _BLEND_CM) ** 2)))


def _box_px(width_px: float) -> int:
    return 2 * round(width_px / 2) + 1


def _mean_over(values: Float32[np.ndarray, "*shape"], width_px: float) -> Float32[np.ndarray, "*shape"]:
    """Return each value's mean over about `width_px` pixels: two box blurs, whose cost is independent of the width."""
    size = (_box_px(width_px),) * 2
    return np.asarray(cv2.blur(cv2.blur(values, size), size))


@dataclass(frozen=True, slots=True, eq=False)
class RasterizedMesh:
    """The visible triangles of a mesh at the pixels' centres.

    Attributes:
        depth: z, 0 where there is no mesh. covered: where there is.
        triangle: index of the visible triangle at each covered pixel, row by row.
        barycentric: coordinates of the pixel centre in that triangle.
    """

    depth: Float[np.ndarray, "height width"]
    covered: Bool[np.ndarray, "height width"]
    triangle: Int64[np.ndarray, " num_covered"]
    barycentric: Float[np.ndarray, "num_covered 3"]

    def interpolate(
        self, corner_values: Float[np.ndarray, "num_triangles 3 channels"]
    ) -> Float[np.ndarray, "num_covered channels"]:
        """Interpolate values at the triangles' corners to the covered pixels."""
        return np.asarray(np.einsum("pk,pkc->pc", self.barycentric, corner_values[self.triangle]))


def rasterize(
    pixels: Float[np.ndarray, "num_vertices 2"],
    depth: Float[np.ndarray, " num_vertices"],
    triangles: Int64[np.ndarray, "num_triangles 3"],
    height: int,
    width: int,
) -> RasterizedMesh:
    """Return the nearest triangle of a mesh at every pixel centre.

    Tests all (triangle, pixel) pairs of the triangles' bounding boxes at once, without a loop over triangles. Depth is
    interpolated linearly in the image, which is accurate enough for triangles of half a centimetre.
    """
    corners = pixels[triangles]
    low = np.clip(np.ceil(corners.min(axis=1) - 0.5), 0, (width, height)).astype(int)
    high = np.clip(np.floor(corners.max(axis=1) - 0.5) + 1, low, (width, height)).astype(int)
    extent = high - low
    count = extent[:, 0] * extent[:, 1]
    triangle = np.repeat(np.arange(len(triangles)), count)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    down, right = np.divmod(within, np.repeat(extent[:, 0], count))
    column, row = np.repeat(low[:, 0], count) + right, np.repeat(low[:, 1], count) + down
    # A corner's barycentric coordinate is linear in the image: 1 at the corner, 0 on the opposite side.
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = _barycentric_weights(corners)
    second, third = (_linear(weights[:, index], triangle, column + 0.5, row + 0.5) for index in (1, 2))
    inside = np.flatnonzero((second >= 0) & (third >= 0) & (second + third <= 1))
    second, third, triangle = second[inside], third[inside], triangle[inside]
    z = depth[triangles[triangle]]
    value = z[:, 0] + second * (z[:, 1] - z[:, 0]) + third * (z[:, 2] - z[:, 0])
    pixel = (row * width + column)[inside]
    nearest = np.full(height * width, np.inf)
    np.minimum.at(nearest, pixel, value)
    winner = np.full(height * width, -1)
    on_top = np.flatnonzero(value == nearest[pixel])
    winner[pixel[on_top]] = on_top
    covered = winner >= 0
    chosen = winner[covered]
    return RasterizedMesh(
        depth=np.where(covered, nearest, 0.0).reshape(height, width),
        covered=covered.reshape(height, width),
        triangle=triangle[chosen],
        barycentric=np.stack((1 - second[chosen] - third[chosen], second[chosen], third[chosen]), axis=1),
    )


def rasterize_facing(
    points: Float[np.ndarray, "num_vertices 3"],
    triangles: Int64[np.ndarray, "num_triangles 3"],
    intrinsics: Float[np.ndarray, "3 3"],
    shape: tuple[int, ...],
    least_cosine: float,
) -> tuple[RasterizedMesh, Int64[np.ndarray, "num_facing 3"]]:
    """Rasterize the triangles that face the camera; return the result and these triangles.

    Args:
        points: camera frame. shape: height and width of the image.
        least_cosine: between a triangle's normal and the direction to the camera.
    """
    facing = triangles[_facing_cosine(points[triangles]) > least_cosine]
    pixels = points[:, :2] / points[:, 2:] * intrinsics[[0, 1], [0, 1]] + intrinsics[:2, 2]
    return rasterize(pixels, points[:, 2], facing, *shape), facing


def rasterize_depth(
    pixels: Float[np.ndarray, "num_vertices 2"],
    depth: Float[np.ndarray, " num_vertices"],
    triangles: Int64[np.ndarray, "num_triangles 3"],
    height: int,
    width: int,
) -> Float[np.ndarray, "height width"]:
    """Return the nearest z of a triangle mesh at every pixel centre, 0 where there is no mesh."""
    return rasterize(pixels, depth, triangles, height, width).depth


def vertex_normals(
    points: Float[np.ndarray, "num_vertices 3"], triangles: Int64[np.ndarray, "num_triangles 3"]
) -> Float[np.ndarray, "num_vertices 3"]:
    """Return smooth unit normals of a mesh: at each vertex the mean of the adjacent triangles', weighted by area."""
    corners = points[triangles]
    doubled = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.zeros_like(points)
    for index in range(3):
        np.add.at(total, triangles[:, index], doubled)
    return unit(total)


def mean_head_depth(
    head_to_camera: Float[np.ndarray, "4 4"],
    intrinsics: Float[np.ndarray, "3 3"],
    head: Bool[np.ndarray, "height width"],
    cut: Bool[np.ndarray, "height width"],
) -> Float[np.ndarray, "height width"]:
    """Return z in cm of a mean head, scaled in every direction from its centre to the width of the mask.

    Its front is that of the mean head; towards the mask's outline it curves back to the plane of the head's centre. So
    hair beyond the skull becomes part of the round shape instead of a flat fan behind it.

    Args:
        cut: see `head_surface`; in directions where the mask ends at the cut, the mean head is not narrowed.
    """
    to_sphere, origin = _unit_sphere(head_to_camera, intrinsics)
    rows, columns = np.nonzero(head)
    direction = to_sphere[:, :1] * (columns + 0.5) + to_sphere[:, 1:2] * (rows + 0.5) + to_sphere[:, 2:]
    squared = (direction**2).sum(axis=0)
    along = -(origin @ direction) / squared
    distance = np.sqrt(np.maximum(origin @ origin - along**2 * squared, 0.0))  # of the ray from the centre, in radii
    middle = intrinsics @ (head_to_camera[:3, :3] @ HEAD_CENTER + head_to_camera[:3, 3])
    turn = np.arctan2(rows + 0.5 - middle[1] / middle[2], columns + 0.5 - middle[0] / middle[2])
    sector = ((turn / (2 * np.pi) + 1) * _DIRECTIONS).astype(int) % _DIRECTIONS
    reach = np.zeros(_DIRECTIONS)
    np.maximum.at(reach, sector, distance)
    near_cut = cv2.dilate(cut.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    ends_there = near_cut[rows, columns] & (distance > 0.95 * reach[sector])
    open_sectors = np.unique(sector[ends_there])
    reach[open_sectors] = np.maximum(reach[open_sectors], 1.0)
    reach = ndimage.gaussian_filter1d(reach.clip(_NARROWEST, _WIDEST), 2.0, mode="wrap")
    # Interpolate linearly between the centres of neighbouring sectors, around the circle.
    position = (turn / (2 * np.pi) + 1) * _DIRECTIONS - 0.5
    wide = np.interp(
        position, np.arange(-1, 2 * _DIRECTIONS + 1), np.take(reach, range(-1, 2 * _DIRECTIONS + 1), mode="wrap")
    )
    depth = np.zeros(head.shape)
    depth[rows, columns] = along - np.sqrt(np.maximum(1.0 - (distance / wide) ** 2, 0.0) / squared)
    return depth


def _unit_sphere(
    head_to_camera: Float[np.ndarray, "4 4"], intrinsics: Float[np.ndarray, "3 3"]
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, " 3"]]:
    """Return the map from (column, row, 1) to rays, and the camera, in a space where the mean head is a unit sphere."""
    turn = head_to_camera[:3, :3].T / HEAD_RADII[:, None]
    return turn @ np.linalg.inv(intrinsics), -turn @ head_to_camera[:3, 3] - HEAD_CENTER / HEAD_RADII


def _barycentric_weights(corners: Float[np.ndarray, "num_triangles 3 2"]) -> Float[np.ndarray, "num_triangles 3 3"]:
    """Return for every triangle and corner the weights of column, row and 1 in the corner's barycentric coordinate."""
    following, last = np.roll(corners, -1, axis=1), np.roll(corners, -2, axis=1)
    side = last - following
    weights = np.stack((-side[..., 1], side[..., 0]), axis=-1)
    offset = -(weights * following).sum(axis=-1)
    area = (weights * corners).sum(axis=-1) + offset
    return np.asarray(np.concatenate((weights, offset[..., None]), axis=-1) / area[..., None])


def _linear(
    weights: Float[np.ndarray, "num_triangles 3"],
    triangle: Int64[np.ndarray, " num_pairs"],
    column: Float[np.ndarray, " num_pairs"],
    row: Float[np.ndarray, " num_pairs"],
) -> Float[np.ndarray, " num_pairs"]:
    return np.asarray(weights[triangle, 0] * column + weights[triangle, 1] * row + weights[triangle, 2])


def _facing_cosine(corners: Float[np.ndarray, "num_triangles 3 3"]) -> Float[np.ndarray, " num_triangles"]:
    """Return the cosine between each triangle's outward normal and the direction to the camera; corners in its axes."""
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    center = corners.mean(axis=1)
    lengths = np.linalg.norm(normal, axis=1) * np.linalg.norm(center, axis=1)
    return np.asarray(-(normal * center).sum(axis=1) / np.maximum(lengths, 1e-12))


def unit(vectors: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
    """Return the vectors at unit length; zero stays zero."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12))
