"""Depth backend protocol and its first backend: what turns a source frame into depth and normals of the head."""

from typing import Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8

from mggtalk.geometry.normals import normals_from_depth
from mggtalk.perception.landmark_sets import LandmarkSet
from mggtalk.perception.mesh_depth import head_depth


class HeadGeometry(Protocol):
    """Depth and normals of one head from one image; aligned to the tracks, so in centimetres of the camera frame."""

    name: str

    def __call__(
        self,
        image: UInt8[np.ndarray, "size size 3"],
        head: Bool[np.ndarray, "size size"],
        landmarks: Float[np.ndarray, "num_landmarks 3"],
        head_to_camera: Float[np.ndarray, "4 4"],
        intrinsics: Float[np.ndarray, "3 3"],
    ) -> tuple[Float32[np.ndarray, "size size"], Float32[np.ndarray, "size size 3"]]:
        """Return z in cm (0 outside the head) and unit normals (0 where unknown), both in the camera frame."""
        ...


class FaceMeshGeometry:
    """Backend `facemesh`: needs no network beyond the landmarks; see `mesh_depth`."""

    name = "facemesh"

    def __init__(self, landmarks: LandmarkSet) -> None:
        self._landmarks = landmarks

    def __call__(
        self,
        image: UInt8[np.ndarray, "size size 3"],  # noqa: ARG002 - part of the protocol; the mesh says it all here
        head: Bool[np.ndarray, "size size"],
        landmarks: Float[np.ndarray, "num_landmarks 3"],
        head_to_camera: Float[np.ndarray, "4 4"],
        intrinsics: Float[np.ndarray, "3 3"],
    ) -> tuple[Float32[np.ndarray, "size size"], Float32[np.ndarray, "size size 3"]]:
        """Return z in cm (0 outside the head) and unit normals (0 where unknown), both in the camera frame."""
        depth = head_depth(landmarks, head_to_camera, intrinsics, head, self._landmarks)
        normals, _ = normals_from_depth(
            torch.from_numpy(depth)[None], torch.as_tensor(intrinsics, dtype=torch.float32)[None]
        )
        return depth, normals[0].numpy()
