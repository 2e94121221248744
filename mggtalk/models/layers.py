"""Building blocks: a small UNet, a multilayer perceptron, a positional encoding."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mggtalk.models.config import NORM_GROUPS


def zero_initialized(layer: nn.Linear | nn.Conv2d) -> nn.Linear | nn.Conv2d:
    """Return `layer` with zero weights and biases: a residual branch that starts by changing nothing."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def mlp(in_channels: int, hidden_channels: int, out_channels: int, layers: int) -> nn.Sequential:
    """Return a perceptron with `layers` hidden layers and no activation at its end."""
    modules: list[nn.Module] = []
    for layer in range(layers):
        modules += [nn.Linear(in_channels if layer == 0 else hidden_channels, hidden_channels), nn.SiLU()]
    return nn.Sequential(*modules, nn.Linear(hidden_channels, out_channels))


class ConvBlock(nn.Sequential):
    """Two 3x3 convolutions, each with group norm and SiLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1),
            nn.GroupNorm(NORM_GROUPS, out_channels),
            nn.SiLU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
            nn.GroupNorm(NORM_GROUPS, out_channels),
            nn.SiLU(),
        )


class UNet(nn.Module):
    """Three scales with skip connections; the last convolution starts at zero.

    Source: Ronneberger et al., U-Net (MICCAI 2015), with additions for concatenations.
    """

    def __init__(self, in_channels: int, out_channels: int, channels: int) -> None:
        super().__init__()
        self.enter = ConvBlock(in_channels, channels)
        self.down = ConvBlock(channels, 2 * channels, stride=2)
        self.bottom = ConvBlock(2 * channels, 4 * channels, stride=2)
        self.up = ConvBlock(4 * channels, 2 * channels)
        self.leave = ConvBlock(2 * channels, channels)
        self.out = zero_initialized(nn.Conv2d(channels, out_channels, 3, padding=1))

    def forward(
        self, image: Float[Tensor, "batch in_channels height width"]
    ) -> Float[Tensor, "batch out_channels height width"]:
        """Return the network's output at the size of `image`, whose sides are multiples of 4."""
        fine = self.enter(image)
        middle = self.down(fine)
        coarse = functional.interpolate(self.up(self.bottom(middle)), scale_factor=2.0, mode="nearest")
        merged = functional.interpolate(self.leave(middle + coarse), scale_factor=2.0, mode="nearest")
        result: Tensor = self.out(fine + merged)
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
