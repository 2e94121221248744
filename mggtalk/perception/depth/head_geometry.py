"""The protocol of depth backends, which turn source frames into depth and normals of heads, and the first backend."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from mggtalk.geometry.head.landmark_sets import LandmarkSet
from mggtalk.perception.depth.mesh_depth import SurfaceMaps, head_surface

_AROUND_PX = 4


@dataclass(frozen=True, slots=True, eq=False)
class HeadViews:
    """Source frames of one clip: the input of a depth backend.

    Attributes:
        images: RGB. head: the head's pixels. valid: false where the crop leaves the video frame.
        landmarks: head space, cm. intrinsics: pixels of the images; the same for all frames.
    """

    images: UInt8[np.ndarray, "num_frames size size 3"]
    head: Bool[np.ndarray, "num_frames size size"]
    valid: Bool[np.ndarray, "size size"]
    landmarks: Float[np.ndarray, "num_frames num_landmarks 3"]
    head_to_camera: Float[np.ndarray, "num_frames 4 4"]
    intrinsics: Float[np.ndarray, "3 3"]

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.images)

    @property
    def cut(self) -> Bool[np.ndarray, "size size"]:
        """Pixels at the image's border or outside the video frame, where a mask's end is no outline of the head."""
        cut = ~self.valid
        cut[[0, -1]] = cut[:, [0, -1]] = True
        return cut


@dataclass(frozen=True, slots=True, eq=False)
class DepthAndNormals:
    """Output of a depth backend, in the camera frame.

    Attributes:
        depth: z in cm; 0 outside the head. normals: unit, towards the camera; 0 where unknown.
        fell_back: frames without a usable network prediction, which have the results of `facemesh` instead.
    """

    depth: Float32[np.ndarray, "num_frames size size"]
    normals: Float32[np.ndarray, "num_frames size size 3"]
    fell_back: Bool[np.ndarray, " num_frames"]


class HeadGeometry(Protocol):
    """Computes depth and normals of heads from their images, aligned to the tracks: in centimetres, camera frame."""

    name: str

    def __call__(self, views: HeadViews) -> DepthAndNormals:
        """Return depth and normals of every view."""
        ...


class FaceMeshGeometry:
    """Backend `facemesh`: needs no network beyond the landmarks; see `mesh_depth`."""

    name = "facemesh"

    def __init__(self, landmarks: LandmarkSet) -> None:
        self._landmarks = landmarks

    def __call__(self, views: HeadViews) -> DepthAndNormals:
        """Return depth and normals of every view."""
        depth = np.zeros(views.head.shape, np.float32)
        normals = np.zeros((*views.head.shape, 3), np.float32)
        for index, head in enumerate(views.head):
            if head.any():
                box = _box(head)
                surface = self._surface(views, index, box)
                depth[index][box], normals[index][box] = surface.depth, surface.normals
        return DepthAndNormals(depth, normals, np.zeros(len(views), bool))

    def _surface(self, views: HeadViews, index: int, box: tuple[slice, slice]) -> SurfaceMaps:
        intrinsics = views.intrinsics.copy()
        intrinsics[:2, 2] -= (box[1].start, box[0].start)
        return head_surface(
            views.landmarks[index],
            views.head_to_camera[index],
            intrinsics,
            views.head[index][box],
            views.cut[box],
            self._landmarks,
        )


def _box(head: Bool[np.ndarray, "size size"]) -> tuple[slice, slice]:
    """Return the rows and columns of a mask's bounding box with a margin, because the image may end next to it."""
    sides = (np.flatnonzero(head.any(axis=axis)) for axis in (1, 0))
    rows, columns = (slice(max(int(side[0]) - _AROUND_PX, 0), int(side[-1]) + 1 + _AROUND_PX) for side in sides)
    return rows, columns
