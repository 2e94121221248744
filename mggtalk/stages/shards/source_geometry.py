"""Reconstructs the geometry of source frames: the head's surface, its normals and its symmetric cloud."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool

from mggtalk.geometry.head_cloud import symmetric_points
from mggtalk.geometry.normal_integration import IntegrationSettings, integrate_normals
from mggtalk.perception.depth.head_geometry import HeadGeometry, HeadViews
from mggtalk.shards.codecs.sample import SourceGeometry


@dataclass(frozen=True, slots=True, eq=False)
class ReconstructedSources:
    """Geometry of some views, in their order; `fell_back`: see `DepthAndNormals`."""

    geometry: tuple[SourceGeometry, ...]
    fell_back: Bool[np.ndarray, " num_frames"]


class SourceReconstruction:
    """Depth backend, surface reconstruction and symmetric cloud in a row.

    Args:
        backend: gives rough depth and normals. surface: how one surface is made of both.
        stride: every `stride`-th pixel in both directions gives a point. voxel_size: of the filter, cm.
    """

    def __init__(self, backend: HeadGeometry, surface: IntegrationSettings, *, stride: int, voxel_size: float) -> None:
        self._backend = backend
        self._surface = surface
        self._stride = stride
        self._voxel_size = voxel_size

    @property
    def name(self) -> str:
        """Name of the depth backend."""
        return self._backend.name

    def __call__(self, views: HeadViews) -> ReconstructedSources:
        """Return the geometry of every view."""
        rough = self._backend(views)
        intrinsics = torch.as_tensor(views.intrinsics, dtype=torch.float32)[None]
        sources = []
        for number, head in enumerate(views.head):  # one by one: the maps of one frame stay in the cache
            depth = torch.from_numpy(rough.depth[number])[None]
            normals = torch.from_numpy(rough.normals[number])[None]
            surface = integrate_normals(depth, normals, intrinsics, self._surface)
            points = symmetric_points(
                surface,
                normals,
                torch.as_tensor(views.head_to_camera[number], dtype=torch.float32)[None],
                intrinsics,
                torch.from_numpy(views.valid & ~head)[None],
                self._stride,
                self._voxel_size,
            )
            sources.append(SourceGeometry(surface[0].numpy(), rough.normals[number], points.clouds(1)[0]))
        return ReconstructedSources(tuple(sources), rough.fell_back)
