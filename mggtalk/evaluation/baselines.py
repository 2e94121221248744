"""Implements two baselines: copying the source frame, and warping it piecewise affinely by landmarks.

The warp receives the driver's true landmarks, so it is hard to beat on pose and expression; it cannot show what is not
visible in the source.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8
from scipy.ndimage import distance_transform_edt
from scipy.spatial import Delaunay

from mggtalk.records import HeadFrame

NUM_MEDIAPIPE_LANDMARKS = 478
# Stable landmarks of MediaPipe's 478: contours whose position the image fixes, and few points on plain skin. All 478
# would make triangles of a pixel or two that fold under the landmarks' own noise.
FACE_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
LIPS = (
    *(61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185),
    *(78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191),
)
EYES = (
    *(33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    *(263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
)
BROWS = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46, 300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
NOSE = (168, 6, 197, 195, 5, 4, 1, 2, 98, 97, 326, 327, 48, 278, 64, 294)
SKIN = (151, 9, 69, 299, 50, 280, 205, 425, 117, 346, 187, 411, 207, 427, 199, 175)
STABLE_LANDMARKS = (*FACE_OVAL, *LIPS, *EYES, *BROWS, *NOSE, *SKIN)

ANCHORS_PER_SIDE = 4
RING_DIRECTIONS = 32
# Ring points nearer to the face contour than this fraction of the image would only make slivers.
RING_MARGIN = 0.03
SUBPIXEL_BITS = 4
MIN_AREA_PX = 1e-3


def copy_source(source: HeadFrame) -> UInt8[np.ndarray, "size size 3"]:
    """Return the source image under any driver."""
    return source.image


class MeshWarp:
    """Warps the source image on a triangle mesh to the landmarks of any driver.

    The mesh is the Delaunay triangulation, in the source, of stable landmarks, of a ring along the outline of the head
    that moves rigidly with the head's pose, and of fixed anchors on the border of the image. Triangles that flip in the
    driver are left out; because the border is fixed, every pixel still lies in at least one that did not flip. Where a
    pixel lies in several, the one nearest to the camera wins.
    """

    def __init__(self, source: HeadFrame) -> None:
        """Triangulate `source`."""
        self._source = source
        self._image = _filled(source.image, source.valid)
        size = source.image.shape[0]
        chosen = stable_indices(len(source.landmarks_px))
        inside = np.all((source.landmarks_px[chosen] > 0) & (source.landmarks_px[chosen] < size), axis=1)
        self._chosen = chosen[inside]
        self._anchors = border_anchors(size)
        self._ring = _ring_in_head_space(source, self._chosen)
        self._points = self._points_in(source)
        self._triangles = Delaunay(self._points[:, :2]).simplices
        self._areas = _signed_areas(self._points[self._triangles, :2])

    def warp(self, driver: HeadFrame) -> UInt8[np.ndarray, "size size 3"]:
        """Warp the source image to the landmarks of `driver`."""
        lookup = self.lookup(driver)
        # remap counts pixel centres from 0.
        columns, rows = (np.ascontiguousarray(lookup[..., axis] - 0.5, np.float32) for axis in (0, 1))
        warped = cv2.remap(self._image, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        # The crop is fixed, so pixels outside the video frame stay as they are.
        return np.where(self._source.valid[..., None], warped, self._source.image)

    def lookup(self, driver: HeadFrame) -> Float[np.ndarray, "size size 2"]:
        """Return the position in the source image for every pixel of the result."""
        size = self._source.image.shape[0]
        target = self._points_in(driver)
        corners = target[self._triangles]
        areas = _signed_areas(corners[..., :2])
        kept = (np.sign(areas) == np.sign(self._areas)) & (np.abs(areas) > MIN_AREA_PX)
        farthest_first = np.argsort(-corners[..., 2].mean(axis=1), kind="stable")
        order = farthest_first[kept[farthest_first]]
        owner = _triangle_of_pixel(corners[..., :2], order, size)
        target_to_source = _affine_maps(corners[order, :, :2], self._points[self._triangles[order], :2])
        maps = np.concatenate([target_to_source, np.eye(2, 3)[None]])[owner]
        centres = np.stack([*np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5), np.ones((size, size))], axis=-1)
        return np.asarray(np.einsum("hwij,hwj->hwi", maps, centres))

    def _points_in(self, frame: HeadFrame) -> Float[np.ndarray, "num_points 3"]:
        """Return the vertices of the mesh in `frame`: position in pixels and depth in cm."""
        in_camera = _transformed(frame.head_to_camera, frame.landmarks[self._chosen])
        face = np.column_stack([frame.landmarks_px[self._chosen].astype(np.float64), in_camera[:, 2]])
        ring_camera = _transformed(frame.head_to_camera, self._ring)
        ring_px = _projected(frame.intrinsics, ring_camera)
        # The outline lies behind the face it surrounds, and the background behind both.
        depth = float(in_camera[:, 2].max())
        ring = np.column_stack([ring_px, np.full(len(ring_px), depth)])
        anchors = np.column_stack([self._anchors, np.full(len(self._anchors), 2 * depth)])
        return np.concatenate([face, ring, anchors])


def stable_indices(num_landmarks: int) -> Int[np.ndarray, " num_chosen"]:
    """Return the indices of the mesh's landmarks: the stable ones of MediaPipe's 478, all of any other set."""
    if num_landmarks != NUM_MEDIAPIPE_LANDMARKS:
        return np.arange(num_landmarks)
    return np.array(sorted(set(STABLE_LANDMARKS)))


def border_anchors(size: int) -> Float[np.ndarray, "num_anchors 2"]:
    """Return fixed points along the border of an image of `size` pixels, including its corners."""
    steps = np.linspace(0.0, size, ANCHORS_PER_SIDE + 1)[:-1]
    zeros, ends = np.zeros_like(steps), np.full_like(steps, size)
    sides = [(steps, zeros), (ends, steps), (size - steps, ends), (zeros, size - steps)]
    return np.concatenate([np.column_stack(side) for side in sides])


def _filled(
    image: UInt8[np.ndarray, "size size 3"], valid: Bool[np.ndarray, "size size"]
) -> UInt8[np.ndarray, "size size 3"]:
    """Fill invalid pixels with the nearest valid one, so that no empty border is warped into view."""
    if valid.all() or not valid.any():
        return image
    rows, columns = distance_transform_edt(~valid, return_distances=False, return_indices=True)
    return np.where(valid[..., None], image, image[rows, columns])


def _ring_in_head_space(source: HeadFrame, chosen: Int[np.ndarray, " num_chosen"]) -> Float[np.ndarray, "num_ring 3"]:
    """Return the outline of the head, set at the depth of the rearmost landmark, in head space."""
    size = source.image.shape[0]
    face = source.landmarks_px[chosen].astype(np.float64)
    centre = face.mean(axis=0)
    outline = _outline(source.head_mask & source.valid, centre)
    inside = np.all((outline > 1) & (outline < size - 1), axis=1)
    hull = cv2.convexHull(face.astype(np.float32))
    outside_face = [-cv2.pointPolygonTest(hull, (float(x), float(y)), True) > RING_MARGIN * size for x, y in outline]
    outline = outline[inside & np.array(outside_face, bool)]
    depth = float(_transformed(source.head_to_camera, source.landmarks[chosen])[:, 2].max())
    rays = np.column_stack([outline, np.ones(len(outline))]) @ np.linalg.inv(source.intrinsics.astype(np.float64)).T
    return _transformed(np.linalg.inv(source.head_to_camera.astype(np.float64)), rays * depth)


def _outline(
    mask: Bool[np.ndarray, "size size"], centre: Float[np.ndarray, "2"]
) -> Float[np.ndarray, "num_directions 2"]:
    """Return, in evenly spaced directions from `centre`, the farthest pixel of `mask`."""
    angles = np.arange(RING_DIRECTIONS) * (2 * np.pi / RING_DIRECTIONS)
    directions = np.column_stack([np.cos(angles), np.sin(angles)])
    radii = np.arange(1.0, 1.5 * mask.shape[0])
    samples = centre + directions[:, None] * radii[:, None]
    cells = np.floor(samples).astype(int)
    inside = np.all((cells >= 0) & (cells < mask.shape[0]), axis=-1)
    cells = np.clip(cells, 0, mask.shape[0] - 1)
    hit = mask[cells[..., 1], cells[..., 0]] & inside
    farthest = np.where(hit, radii, 0.0).max(axis=1)
    return np.asarray(centre + directions * farthest[:, None])


def _triangle_of_pixel(
    corners: Float[np.ndarray, "num_triangles 3 2"], order: Int[np.ndarray, " num_drawn"], size: int
) -> Int[np.ndarray, "size size"]:
    """Return for every pixel the position in `order` of the triangle drawn last over it, or -1."""
    owner = np.full((size, size), -1, np.int32)
    fixed_point = np.round((corners - 0.5) * 2**SUBPIXEL_BITS).astype(np.int32)
    for position, triangle in enumerate(order):
        cv2.fillConvexPoly(owner, fixed_point[triangle], int(position), lineType=cv2.LINE_8, shift=SUBPIXEL_BITS)
    return owner


def _affine_maps(
    origin: Float[np.ndarray, "num_triangles 3 2"], destination: Float[np.ndarray, "num_triangles 3 2"]
) -> Float[np.ndarray, "num_triangles 2 3"]:
    """Return the affine maps from each triangle of `origin` to its counterpart in `destination`."""
    homogeneous = np.concatenate([origin, np.ones((len(origin), 3, 1))], axis=-1)
    return np.asarray(np.linalg.solve(homogeneous, destination).transpose(0, 2, 1))


def _signed_areas(corners: Float[np.ndarray, "num_triangles 3 2"]) -> Float[np.ndarray, " num_triangles"]:
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return np.asarray(0.5 * (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]))


def _transformed(transform: Float[np.ndarray, "4 4"], points: Float[np.ndarray, "num 3"]) -> Float[np.ndarray, "num 3"]:
    return np.asarray(points.astype(np.float64) @ transform[:3, :3].T.astype(np.float64) + transform[:3, 3])


def _projected(
    intrinsics: Float32[np.ndarray, "3 3"], points: Float[np.ndarray, "num 3"]
) -> Float[np.ndarray, "num 2"]:
    projected = points @ intrinsics.T.astype(np.float64)
    return np.asarray(projected[:, :2] / projected[:, 2:])
