"""Entry point of rendering: Gaussians and cameras in, images out, on the rasteriser that fits the device."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from mggtalk.rendering.gaussians import Gaussians
from mggtalk.rendering.gsplat_backend import rasterize_gsplat
from mggtalk.rendering.reference import rasterize_reference

Backend = Literal["auto", "gsplat", "reference"]

NEAR_PLANE = 1.0  # cm: gsplat's default of 0.01, taken as metres
FAR_PLANE = 1e10  # cm: gsplat's default


@dataclass(frozen=True, slots=True, eq=False)
class Rendering:
    """Images over black.

    Attributes:
        color: premultiplied: the sum of weight * color. Over another background: color + (1 - alpha) * background.
        alpha: the sum of the weights, in [0, 1].
        depth: the sum of weight * z in the camera frame, cm; not normalised: divide by alpha for the expected depth.
    """

    color: Float[Tensor, "batch height width channels"]
    alpha: Float[Tensor, "batch height width"]
    depth: Float[Tensor, "batch height width"]


def rasterize(
    gaussians: Gaussians,
    world_to_camera: Float[Tensor, "batch 4 4"],
    intrinsics: Float[Tensor, "batch 3 3"],
    height: int,
    width: int,
    backend: Backend = "auto",
) -> Rendering:
    """Render each set of Gaussians through its own camera.

    Differentiable in every tensor of the Gaussians and in `world_to_camera`. Both backends follow the same rules
    (gsplat 1.5, "classic"): screen covariance + 0.3 px^2, alpha at most 0.999 and skipped below 1/255, a pixel done
    before its transmittance would fall to 1e-4; Gaussians before `NEAR_PLANE` or beyond `FAR_PLANE` are culled.

    Args:
        world_to_camera: to OpenCV camera axes, cm.
        intrinsics: pinhole, in pixels, without skew; pixel centres at +0.5.
        height, width: of the images in pixels.
        backend: `auto` takes gsplat for CUDA tensors and the reference for others.

    Raises:
        ValueError: the cameras do not fit the batch, the image is empty, or the backend is unknown.
        RuntimeError: gsplat is asked for, and the tensors are not on a CUDA device.
    """
    batch = len(gaussians.means)
    for name, camera, side in (("world_to_camera", world_to_camera, 4), ("intrinsics", intrinsics, 3)):
        expected, got = (batch, side, side), tuple(camera.shape)
        if got != expected:
            raise ValueError(f"{name}: expected shape {expected} for {batch} heads, got {got}")
    if height < 1 or width < 1:
        raise ValueError(f"image size: expected at least 1 x 1 pixels, got height {height}, width {width}")
    if backend == "auto":
        backend = "gsplat" if gaussians.means.is_cuda else "reference"
    backends = {"gsplat": rasterize_gsplat, "reference": rasterize_reference}
    if backend not in backends:
        raise ValueError(f"backend: expected auto, {', '.join(backends)}; got {backend!r}")
    features = backends[backend](gaussians, world_to_camera, intrinsics, (height, width), (NEAR_PLANE, FAR_PLANE))
    channels = gaussians.colors.shape[-1]
    color, alpha, depth = torch.split(features, [channels, 1, 1], dim=-1)
    return Rendering(color, alpha.squeeze(-1), depth.squeeze(-1))
