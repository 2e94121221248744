"""Building blocks: a small UNet, a multilayer perceptron, a positional encoding."""

import math
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mggtalk.models.config import NORM_GROUPS

_WIDEST = 8
"""Channels of a network's coarse scales over those of its finest, at most."""


def mixed_precision(device: torch.device) -> torch.autocast:
    """Return the context that networks compute in: bfloat16 on CUDA, single precision elsewhere.

    Only for networks: positions need hundredths of a centimetre, which bfloat16 cannot hold.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16(device))


def uses_bf16(device: torch.device) -> bool:
    """Return whether networks compute in bfloat16 on a device."""
    return device.type == "cuda"


def cast_weights_bf16(module: nn.Module) -> None:
    """Hold the weights of networks in bfloat16, as `mixed_precision` casts them in every pass; inference only.

    Results stay the same, but a pass saves the launches that round hundreds of small tensors.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.GroupNorm):
            layer.to(torch.bfloat16)


RIM_FRACTION = 1 / 32
"""Distance from a head's rim within which its mask cannot be trusted, as a fraction of the image's width."""


def box_blur(plane: Float[Tensor, "batch 1 height width"], diameter: int) -> Float[Tensor, "batch 1 height width"]:
    """Return the mean of the `diameter` (odd) pixels squared around each pixel, as far as they lie within the image."""
    return functional.avg_pool2d(plane, diameter, stride=1, padding=diameter // 2, count_include_pad=False)


class ZeroInitLinear(nn.Linear):
    """A linear layer of zeros, for a residual branch that changes nothing at first; returns single precision."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, features: Float[Tensor, "*points in_channels"]) -> Float[Tensor, "*points out_channels"]:
        """Return the residuals."""
        with mixed_precision(features.device):
            residuals = functional.linear(features, self.weight, self.bias)
        return residuals.float()


class MLP(nn.Sequential):
    """A perceptron with `layers` hidden layers and an activation after each, the last of them included."""

    def __init__(self, in_channels: int, hidden_channels: int, layers: int) -> None:
        modules: list[nn.Module] = []
        for layer in range(layers):
            modules += [nn.Linear(in_channels if layer == 0 else hidden_channels, hidden_channels), nn.SiLU()]
        super().__init__(*modules)

    def forward(self, features: Float[Tensor, "*points in_channels"]) -> Float[Tensor, "*points hidden_channels"]:
        """Return the last hidden layer."""
        with mixed_precision(features.device):
            hidden: Tensor = super().forward(features)  # type: ignore[no-untyped-call]
        return hidden


class GroupNorm(nn.GroupNorm):
    """Group norm that returns the type it got, with single precision inside.

    Autocast would return single precision to the next layer: twice the bytes where memory bandwidth is the limit.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(NORM_GROUPS, channels)

    def forward(self, features: Float[Tensor, "batch channels height width"]) -> Tensor:
        """Return the normalised features."""
        with torch.autocast(features.device.type, enabled=False):
            weight, bias = self.weight.to(features.dtype), self.bias.to(features.dtype)
            return functional.group_norm(features, self.num_groups, weight, bias, self.eps)


class ConvBlock(nn.Sequential):
    """Two 3x3 convolutions, each with group norm and SiLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1),
            GroupNorm(out_channels),
            nn.SiLU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
            GroupNorm(out_channels),
            nn.SiLU(),
        )


class UNet(nn.Module):
    """Several scales with skip connections, each half as fine and twice as wide; the last convolution starts at zero.

    A condition, a vector for each image, scales and shifts channels of the coarsest scale, and starts without effect.

    Source: Ronneberger et al., U-Net (MICCAI 2015), with additions for concatenations; Perez et al., FiLM (AAAI 2018).
    """

    def __init__(
        self, in_channels: int, out_channels: int, channels: int, levels: int, condition_size: int = 0
    ) -> None:
        super().__init__()
        widths = [channels * min(2**level, _WIDEST) for level in range(levels)]
        self.enter = ConvBlock(in_channels, widths[0])
        self.down = nn.ModuleList(ConvBlock(fine, wide, stride=2) for fine, wide in pairwise(widths))
        self.up = nn.ModuleList(ConvBlock(wide, fine) for fine, wide in pairwise(widths))
        self.condition = ZeroInitLinear(condition_size, 2 * widths[-1]) if condition_size else None
        self.out = nn.Conv2d(channels, out_channels, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(
        self,
        image: Float[Tensor, "batch in_channels height width"],
        condition: Float[Tensor, "batch condition_size"] | None = None,
    ) -> Float[Tensor, "batch out_channels height width"]:
        """Return the network's output at the size of `image`, whose sides can be halved `levels` - 1 times."""
        with mixed_precision(image.device):
            return self._forward(image, condition).float()

    def _forward(self, image: Tensor, condition: Tensor | None) -> Tensor:
        scales = [self.enter(image)]
        for down in self.down:
            scales.append(down(scales[-1]))
        merged = scales.pop()
        if self.condition is not None:
            gain, shift = self.condition(condition)[:, :, None, None].chunk(2, dim=1)
            merged = merged * (1 + gain) + shift
        for up, fine in zip(reversed(self.up), reversed(scales), strict=True):
            merged = fine + functional.interpolate(up(merged), scale_factor=2.0, mode="nearest")
        result: Tensor = self.out(merged)
        return result


class PositionalEncoding(nn.Module):
    """Sines and cosines of head-space positions at octaves, beside the positions themselves.

    Source: Mildenhall et al., NeRF (ECCV 2020), eq. 4; the lowest wave is as long as a head is wide, 2 * `extent_cm`.
    """

    def __init__(self, octaves: int, extent_cm: float = 12.0) -> None:
        super().__init__()
        self.extent_cm = extent_cm
        self.frequencies: Tensor
        self.register_buffer("frequencies", math.pi * 2.0 ** torch.arange(octaves), persistent=False)
        self.channels = 3 + 6 * octaves

    def forward(self, positions: Float[Tensor, "num_points 3"]) -> Float[Tensor, "num_points channels"]:
        """Return the encoding of positions in cm."""
        scaled = positions / self.extent_cm
        phases = (scaled.unsqueeze(-1) * self.frequencies).flatten(-2)
        return torch.cat((scaled, phases.sin(), phases.cos()), dim=-1)
