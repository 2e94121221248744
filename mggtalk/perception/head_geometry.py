"""Depth backend protocol and its first backend: what turns source frames into depth and normals of the head."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8

from mggtalk.geometry.normals import normals_from_depth
from mggtalk.perception.landmark_sets import LandmarkSet
from mggtalk.perception.mesh_depth import head_depth


@dataclass(frozen=True, slots=True, eq=False)
class HeadViews:
    """Source frames of one clip: what a depth backend is given.

    Attributes:
        images: RGB. head: the head's pixels.
        landmarks: head space, cm. intrinsics: pixels of the images; the same for all frames.
    """

    images: UInt8[np.ndarray, "num_frames size size 3"]
    head: Bool[np.ndarray, "num_frames size size"]
    landmarks: Float[np.ndarray, "num_frames num_landmarks 3"]
    head_to_camera: Float[np.ndarray, "num_frames 4 4"]
    intrinsics: Float[np.ndarray, "3 3"]

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.images)


@dataclass(frozen=True, slots=True, eq=False)
class DepthAndNormals:
    """What a depth backend says, in the camera frame.

    Attributes:
        depth: z in cm; 0 outside the head. normals: unit, towards the camera; 0 where unknown.
    """

    depth: Float32[np.ndarray, "num_frames size size"]
    normals: Float32[np.ndarray, "num_frames size size 3"]


class HeadGeometry(Protocol):
    """Depth and normals of heads from their images; aligned to the tracks, so in centimetres of the camera frame."""

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
        depth = np.stack(
            [
                head_depth(points, pose, views.intrinsics, head, self._landmarks)
                for points, pose, head in zip(views.landmarks, views.head_to_camera, views.head, strict=True)
            ]
        )
        intrinsics = torch.as_tensor(views.intrinsics, dtype=torch.float32).expand(len(views), 3, 3)
        normals, _ = normals_from_depth(torch.from_numpy(depth), intrinsics)
        return DepthAndNormals(depth, normals.numpy())
