"""Differentiable rendering of 3D Gaussians: gsplat on CUDA, a reference in plain torch elsewhere."""

from mggtalk.rendering.gaussians import Gaussians, rotation_matrices
from mggtalk.rendering.rasterize import Backend, Rendering, rasterize

__all__ = ["Backend", "Gaussians", "Rendering", "rasterize", "rotation_matrices"]
