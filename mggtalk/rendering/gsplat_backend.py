"""Adapter to gsplat's CUDA rasteriser: the whole batch of heads in one call.

gsplat computes in float32, and adds gradients up in no fixed order: runs agree up to rounding, not bit by bit.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from mggtalk.rendering.gaussians import Gaussians
from mggtalk.rendering.projection import BLUR_VARIANCE


def rasterize_gsplat(
    gaussians: Gaussians,
    world_to_camera: Float[Tensor, "batch 4 4"],
    intrinsics: Float[Tensor, "batch 3 3"],
    size: tuple[int, int],
    planes: tuple[float, float],
) -> Float[Tensor, "batch height width features"]:
    """Return colors, alpha and accumulated depth of every pixel, in this order, as the last axis.

    Args:
        size: height and width of the image in pixels. planes: near and far plane, cm.

    Raises:
        RuntimeError: the tensors are not on a CUDA device, or gsplat is not installed.
    """
    if not gaussians.means.is_cuda:
        raise RuntimeError(
            f"backend gsplat: expected CUDA tensors, got {gaussians.means.device}"
            f" (CUDA is {'' if torch.cuda.is_available() else 'not '}available here); use backend reference"
        )
    try:
        from gsplat import rasterization  # noqa: PLC0415 - slow to import, and of no use without CUDA
    except ImportError as cause:
        raise RuntimeError(f"backend gsplat: the package gsplat cannot be imported ({cause})") from cause
    height, width = size
    rendered, alpha, _ = rasterization(
        means=gaussians.means,
        quats=gaussians.rotations,
        scales=gaussians.scales,
        opacities=gaussians.opacities,
        colors=gaussians.colors,
        viewmats=world_to_camera[:, None],
        Ks=intrinsics[:, None],
        width=width,
        height=height,
        near_plane=planes[0],
        far_plane=planes[1],
        eps2d=BLUR_VARIANCE,
        render_mode="RGB+D",
        packed=False,
    )
    color, depth = rendered[:, 0, ..., :-1], rendered[:, 0, ..., -1:]
    return torch.cat([color, alpha[:, 0], depth], dim=-1)
