"""Inpainting: the rendered head and the source's torso and background -> the final image."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mggtalk.models.batches import SourceBatch
from mggtalk.models.config import SHUFFLE, ModelConfig
from mggtalk.models.networks.layers import RIM_FRACTION, UNet, box_blur
from mggtalk.models.points.condition_masks import EyeMouthMasks

_LEAST_KNOWN = 1e-6


def torso_background(source: SourceBatch) -> Float[Tensor, "batch 4 height width"]:
    """Return I_s^bg: the source without its head, the gap filled smoothly from its rim, and how far each pixel is real.

    The image fades in from 1/64 to 3/64 of its width beside the head mask: a rim of hair left there would be doubled,
    and a hard seam beside a moving head would be visible.
    """
    reach = max(round(source.image.shape[-1] * RIM_FRACTION), 1)
    outer = functional.max_pool2d(source.head_mask, 2 * reach + 1, stride=1, padding=reach)
    feathered = box_blur(1 - outer, reach | 1)
    known = source.valid * feathered
    return torch.cat((fill_unknown(source.image * known, known), known), dim=1)


def fill_unknown(
    image: Float[Tensor, "batch channels height width"], known: Float[Tensor, "batch 1 height width"]
) -> Float[Tensor, "batch channels height width"]:
    """Return the image with its gaps filled from ever coarser averages of the known pixels.

    Args:
        image: times `known`, which may lie between 0 and 1.

    Source: the pull-push algorithm of Gortler et al., The Lumigraph (SIGGRAPH 1996), section 3.4.
    """
    # Both in the same operations, because launching them takes most of the time on a GPU.
    planes = torch.cat((image, known), dim=1)
    scales = [planes]
    while max(planes.shape[-2:]) > 1:
        planes = functional.avg_pool2d(planes, 2, ceil_mode=True)
        planes = planes / planes[:, -1:].clamp(min=_LEAST_KNOWN)  # known is then 1 where anything of it is
        scales.append(planes)
    filled = planes[:, :-1] / planes[:, -1:].clamp(min=_LEAST_KNOWN)
    for finer in reversed(scales[:-1]):
        wide = functional.interpolate(filled, size=finer.shape[-2:], mode="bilinear", align_corners=False)
        filled = torch.addcmul(finer[:, :-1], wide, 1 - finer[:, -1:])
    return filled


class Inpainting(nn.Module):
    """UNet that corrects the composite of head and background: seam, mouth interior, uncovered background.

    Its input includes the expressions and the condition masks, because points on lids and lips do not show what opens.
    It works on blocks of pixels as channels (Shi et al., sub-pixel convolution, CVPR 2016).
    """

    def __init__(self, settings: ModelConfig) -> None:
        super().__init__()
        planes = (8 + settings.rendered_features + EyeMouthMasks.NUM_PLANES) * SHUFFLE**2
        levels, told = settings.unet_levels, 2 * settings.expression_size
        self.unet = UNet(planes, 3 * SHUFFLE**2, 2 * settings.unet_channels, levels, told)

    def forward(
        self,
        rendered: Float[Tensor, "batch color_and_features height width"],
        alpha: Float[Tensor, "batch 1 height width"],
        background: Float[Tensor, "batch 4 height width"],
        condition_masks: Float[Tensor, "batch 3 height width"],
        expressions: Float[Tensor, "batch 2*num_coefficients"],
    ) -> Float[Tensor, "batch 3 height width"]:
        """Return the final image, nominally in [0, 1].

        Args:
            rendered: head, its colour first, premultiplied by `alpha`. background: of `torso_background`.
            condition_masks: of `EyeMouthMasks`. expressions: of the source, then the expression delta.
        """
        composite = rendered[:, :3] + (1 - alpha) * background[:, :3]
        planes = torch.cat((composite, rendered, alpha, background[:, 3:], condition_masks), dim=1)
        residual: Tensor = self.unet(functional.pixel_unshuffle(planes, SHUFFLE), expressions)
        return composite + functional.pixel_shuffle(residual, SHUFFLE)
