"""A batch of 3D Gaussians, activated, as the models pass them to the rasterisers."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True, eq=False)
class Gaussians:
    """One set of Gaussians for each head of a batch; shorter sets are padded with rows of opacity 0, which are culled.

    Attributes:
        means: centres in world (canonical head) space, cm.
        rotations: quaternions wxyz; unit length is expected, and restored before use.
        scales: standard deviations along the rotated axes, cm (activated, so positive).
        opacities: in [0, 1] (activated).
        colors: any number of channels, usually RGB in [0, 1].
    """

    means: Float[Tensor, "batch num_gaussians 3"]
    rotations: Float[Tensor, "batch num_gaussians 4"]
    scales: Float[Tensor, "batch num_gaussians 3"]
    opacities: Float[Tensor, "batch num_gaussians"]
    colors: Float[Tensor, "batch num_gaussians channels"]

    def __post_init__(self) -> None:
        """Check that the five tensors describe the same Gaussians.

        Raises:
            ValueError: a tensor has another shape than the means imply.
        """
        if self.means.ndim != 3 or self.means.shape[-1] != 3:
            got = tuple(self.means.shape)
            raise ValueError(f"Gaussians.means: expected shape (batch, num_gaussians, 3), got {got}")
        batch, num_gaussians, _ = self.means.shape
        channels = self.colors.shape[-1] if self.colors.ndim == 3 else 3
        for name, trailing in (("rotations", (4,)), ("scales", (3,)), ("opacities", ()), ("colors", (channels,))):
            expected, got = (batch, num_gaussians, *trailing), tuple(getattr(self, name).shape)
            if got != expected:
                raise ValueError(f"Gaussians.{name}: expected shape {expected} beside the means, got {got}")

    def to(self, target: torch.device | torch.dtype | str) -> "Gaussians":
        """Return the same Gaussians on a device or in a floating-point type."""
        return Gaussians(
            means=self.means.to(target),
            rotations=self.rotations.to(target),
            scales=self.scales.to(target),
            opacities=self.opacities.to(target),
            colors=self.colors.to(target),
        )


def rotation_matrices(rotations: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """Return the rotation matrices of quaternions wxyz of any length but zero (zero, as in padding: the identity).

    Uses few operations, because launching them takes most of the time on a GPU.

    Source: Shuster, "A Survey of Attitude Representations" (1993), eq. 117, as a matrix that rotates column vectors.
    """
    unit = functional.normalize(rotations, dim=-1).movedim(-1, 0).contiguous()  # long rows are fast on a CPU
    (of_w,), products = (unit.unsqueeze(1) * (2 * unit[1:]).unsqueeze(0)).split((1, 3))
    stays = 1 - products.diagonal().sum(dim=-1)
    (wx, wy, wz), (minus_wx, minus_wy, minus_wz) = of_w, -of_w
    others = torch.stack((stays, minus_wz, wy, wz, stays, minus_wx, minus_wy, wx, stays)).unflatten(0, (3, 3))
    matrices: Tensor = products + others
    return matrices.movedim((0, 1), (-2, -1)).contiguous()
