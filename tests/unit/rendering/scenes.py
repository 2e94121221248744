"""Small scenes for the tests of rendering: head-sized clouds before a camera half a metre away."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from mggtalk.rendering import Gaussians, Rendering

Cameras = tuple[Float[Tensor, "batch 4 4"], Float[Tensor, "batch 3 3"]]
GAUSSIAN_FIELDS = ("means", "rotations", "scales", "opacities", "colors")


def cameras(batch: int, height: int, width: int, dtype: torch.dtype = torch.float64) -> Cameras:
    """Return a different camera for each head: turned, shifted, with unequal focal lengths and an off-centre axis."""
    world_to_camera = torch.eye(4, dtype=dtype).repeat(batch, 1, 1)
    intrinsics = torch.eye(3, dtype=dtype).repeat(batch, 1, 1)
    for head in range(batch):
        angle = 0.5 * head - 0.2
        turn = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]], dtype=dtype)
        world_to_camera[head, 0:3:2, 0:3:2] = turn
        world_to_camera[head, :3, 3] = torch.tensor([0.3 * head, -0.2, 50.0 + 3.0 * head], dtype=dtype)
        intrinsics[head, 0, 0], intrinsics[head, 1, 1] = 2.5 * width, 2.2 * height
        intrinsics[head, 0, 2], intrinsics[head, 1, 2] = 0.47 * width, 0.55 * height + head
    return world_to_camera, intrinsics


def cloud(
    batch: int, num_gaussians: int, size_cm: tuple[float, float], seed: int, dtype: torch.dtype = torch.float64
) -> Gaussians:
    """Return random anisotropic, rotated Gaussians in a ball of radius 12 cm, with scales between `size_cm`."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        values = torch.rand(*shape, generator=generator, dtype=torch.float64)
        return (low + (high - low) * values).to(dtype)

    direction = torch.nn.functional.normalize(uniform(batch, num_gaussians, 3, low=-1.0), dim=-1)
    return Gaussians(
        means=direction * uniform(batch, num_gaussians, 1, high=12.0),
        rotations=torch.nn.functional.normalize(uniform(batch, num_gaussians, 4, low=-1.0), dim=-1),
        scales=uniform(batch, num_gaussians, 3, low=size_cm[0], high=size_cm[1]),
        opacities=uniform(batch, num_gaussians, low=0.05),
        colors=uniform(batch, num_gaussians, 3),
    )


def replace_rows(gaussians: Gaussians, start: int, **values: Tensor) -> Gaussians:
    """Return the Gaussians with some fields of the rows from `start` on replaced."""
    fields = {name: getattr(gaussians, name).clone() for name in GAUSSIAN_FIELDS}
    for name, rows in values.items():
        fields[name][:, start : start + len(rows)] = rows.to(fields[name])
    return Gaussians(**fields)


def with_padding(gaussians: Gaussians, num_rows: int) -> Gaussians:
    """Return the Gaussians with rows of zeros behind them."""
    fields = (getattr(gaussians, name) for name in GAUSSIAN_FIELDS)
    return Gaussians(*(torch.cat([values, torch.zeros_like(values[:, :num_rows])], dim=1) for values in fields))


def with_gradients(gaussians: Gaussians) -> tuple[Gaussians, list[Tensor]]:
    """Return leaves that require gradients, as Gaussians and as a list in the order of `GAUSSIAN_FIELDS`."""
    leaves = [getattr(gaussians, name).detach().clone().requires_grad_() for name in GAUSSIAN_FIELDS]
    return Gaussians(*leaves), leaves


def stacked(rendering: Rendering) -> Float[Tensor, "batch height width features"]:
    """Return color, alpha and depth as one tensor."""
    return torch.cat([rendering.color, rendering.alpha[..., None], rendering.depth[..., None]], dim=-1)


def random_loss(image: Tensor, seed: int = 0) -> Tensor:
    """Return a loss whose gradient differs at every pixel and channel."""
    generator = torch.Generator().manual_seed(seed)
    return (image * torch.randn(image.shape, generator=generator, dtype=torch.float64).to(image)).sum()
