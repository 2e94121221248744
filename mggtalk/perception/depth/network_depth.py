"""Turns the prediction of any monocular depth network for source frames into depth in centimetres and normals.

Each frame is aligned to the mesh of its landmarks, where the mesh faces the camera. Depth outside the range that is
possible for this head is replaced by the mean head's.
"""

import logging

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from scipy import ndimage
from torch import Tensor

from mggtalk.geometry.depth_alignment import align
from mggtalk.geometry.head.landmark_sets import LandmarkSet
from mggtalk.geometry.normals import normals_from_depth
from mggtalk.perception.depth.head_geometry import DepthAndNormals, FaceMeshGeometry, HeadViews
from mggtalk.perception.depth.mesh_depth import mean_head_depth, rasterize_facing

_logger = logging.getLogger(__name__)

# All are our choice.
_ANCHOR_COSINE = 0.35
_MOST_UNEXPLAINED = 0.7  # of the face's relief; beyond that the network has not recognised the face
_HEAD_EXTENT_CM = 15.0
_ALIGNED_SIDE = 128  # thousands of points on a face give the same fit as all its pixels
_AT_ONCE = 8
"""Frames, to bound memory: 30 MB each at 512 px."""
# Networks blur the step between head and wall over some pixels (these, of 256), which puts points into the air behind.
_FRINGE_PIXELS = 3
_FRINGE_CM = 3.0
# Steps below this are noise of the prediction; noses and ears stand out farther.
_GRAIN_CM = 0.25


def aligned_depth(
    predicted: Float[Tensor, "num_frames size size"], *, inverse: bool, views: HeadViews, landmarks: LandmarkSet
) -> DepthAndNormals:
    """Return depth and normals of every view from the network's prediction.

    Args:
        predicted: depth, or inverse depth if `inverse`, in pixels of the views and any unit.
    """
    blocks = [np.arange(low, min(low + _AT_ONCE, len(views))) for low in range(0, len(views), _AT_ONCE)]
    parts = [
        _aligned_block(predicted[block], inverse=inverse, views=_frames(views, block), landmarks=landmarks)
        for block in blocks
    ]
    return DepthAndNormals(
        np.concatenate([part.depth for part in parts]),
        np.concatenate([part.normals for part in parts]),
        np.concatenate([part.fell_back for part in parts]),
    )


def _aligned_block(
    predicted: Float[Tensor, "num_frames size size"], *, inverse: bool, views: HeadViews, landmarks: LandmarkSet
) -> DepthAndNormals:
    predicted = predicted.double().cpu()
    points = _camera_points(views, landmarks)
    anchor = torch.from_numpy(np.stack([_face_depth(face, views, landmarks) for face in points]))
    known = (anchor > 0) & torch.from_numpy(views.head)
    step = max(views.head.shape[-1] // _ALIGNED_SIDE, 1)
    fit = align(
        *(image[:, ::step, ::step].flatten(1) for image in (predicted, 1 / anchor if inverse else anchor, known))
    )
    aligned = fit.scale[:, None, None] * predicted + fit.shift[:, None, None]
    depth = (torch.where(aligned > 0, 1 / aligned, torch.inf) if inverse else aligned).numpy()
    fell_back = ~(fit.found & (fit.unexplained < _MOST_UNEXPLAINED)).numpy()
    if fell_back.any():
        _logger.warning(
            "depth: %d of %d frames cannot be aligned to their landmarks; they get the depth of their face mesh",
            fell_back.sum(),
            len(views),
        )
    depth = np.stack([_possible(frame, depth[frame], points[frame], views) for frame in range(len(views))])
    depth = np.where(views.head, depth, 0.0).astype(np.float32)
    normals = _smooth_normals(depth, views.intrinsics)
    if fell_back.any():
        mesh = FaceMeshGeometry(landmarks)(_frames(views, fell_back))
        depth[fell_back], normals[fell_back] = mesh.depth, mesh.normals
    return DepthAndNormals(depth, normals, fell_back)


def _frames(views: HeadViews, chosen: Bool[np.ndarray, " num_frames"] | Int64[np.ndarray, " num_kept"]) -> HeadViews:
    return HeadViews(
        views.images[chosen],
        views.head[chosen],
        views.valid,
        views.landmarks[chosen],
        views.head_to_camera[chosen],
        views.intrinsics,
    )


def _camera_points(views: HeadViews, landmarks: LandmarkSet) -> Float[np.ndarray, "num_frames num_points 3"]:
    """Return the vertices of the faces' surfaces in the camera frame, cm."""
    surfaces = np.stack([landmarks.surface(points) for points in views.landmarks])
    rotation, translation = views.head_to_camera[:, :3, :3], views.head_to_camera[:, None, :3, 3]
    return np.asarray(surfaces @ rotation.transpose(0, 2, 1) + translation)


def _face_depth(
    points: Float[np.ndarray, "num_points 3"], views: HeadViews, landmarks: LandmarkSet
) -> Float[np.ndarray, "size size"]:
    """Return z of the face's surface where it faces the camera, 0 elsewhere."""
    size = views.head.shape[1:]
    return rasterize_facing(points, landmarks.triangles, views.intrinsics, size, _ANCHOR_COSINE)[0].depth


def _possible(
    frame: int,
    depth: Float[np.ndarray, "size size"],
    points: Float[np.ndarray, "num_points 3"],
    views: HeadViews,
) -> Float[np.ndarray, "size size"]:
    """Replace depth that is too near or too far to be part of this head by the mean head's."""
    nearest, farthest = points[:, 2].min() - _HEAD_EXTENT_CM, points[:, 2].max() + _HEAD_EXTENT_CM
    mean_head = mean_head_depth(views.head_to_camera[frame], views.intrinsics, views.head[frame], views.cut)
    depth = mean_head + _without_fringe(depth - mean_head, views.head[frame])
    return np.asarray(np.where((depth > max(nearest, 0.0)) & (depth < farthest), depth, mean_head))


def _without_fringe(
    beyond: Float[np.ndarray, "size size"], head: Bool[np.ndarray, "size size"]
) -> Float[np.ndarray, "size size"]:
    """Limit how far depth lies behind the mean head: at the outline, little more than at the nearest pixel inside."""
    inside = ndimage.distance_transform_edt(head) > max(_FRINGE_PIXELS * len(head) / 256, 1.0)
    if not inside.any():
        return beyond
    _, nearest = ndimage.distance_transform_edt(~inside, return_indices=True)
    limit = beyond[nearest[0], nearest[1]] + _FRINGE_CM
    return np.asarray(np.where(inside, beyond, np.minimum(beyond, limit)))


def _smooth_normals(
    depth: Float32[np.ndarray, "num_frames size size"], intrinsics: Float[np.ndarray, "3 3"]
) -> Float32[np.ndarray, "num_frames size size 3"]:
    """Return normals of the depth without its noise; a bilateral filter keeps edges and the head's outline."""
    pixels = max(depth.shape[-1] / 256, 1.0)
    smooth = np.stack([cv2.bilateralFilter(image, -1, _GRAIN_CM, pixels) for image in depth])
    matrices = torch.as_tensor(intrinsics, dtype=torch.float32).expand(len(depth), 3, 3)
    normals, _ = normals_from_depth(torch.from_numpy(np.where(depth > 0, smooth, 0.0).astype(np.float32)), matrices)
    return np.asarray(normals.numpy())
