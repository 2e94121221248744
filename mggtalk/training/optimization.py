"""One step of the optimizer, left out where a gradient is not finite."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mggtalk.errors import StageError

_IN_A_ROW = 20
"""Steps without a finite gradient after which a run is lost: its weights, or what it reads, are not numbers."""


@dataclass(slots=True, eq=False)
class Optimization:
    """AdamW with a limit on the gradient's norm; a gradient that is not finite changes nothing.

    One such gradient makes every weight a NaN, and the rest of a training worthless; it happened once in twelve trials
    on a GPU (docs/results.md). torch's GradScaler leaves the step out without waiting for the device; its scale is a
    power of two, which changes no result in single precision or bfloat16.

    Attributes:
        skipped: steps that were left out since `take_skipped`, all workers alike; in_a_row: the last ones of all.
    """

    module: nn.Module
    optimizer: torch.optim.AdamW
    gradient_clip: float
    scaler: torch.amp.GradScaler
    skipped: Tensor
    in_a_row: Tensor

    @classmethod
    def of(
        cls, module: nn.Module, device: torch.device, *, rate: float, decay: float, gradient_clip: float
    ) -> "Optimization":
        """Return it for the parameters of `module`, with AdamW's learning rate and weight decay."""
        optimizer = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=decay, fused=True)
        scaler = torch.amp.GradScaler(device.type, init_scale=1.0)
        zero = torch.zeros((), device=device)
        return cls(module, optimizer, gradient_clip, scaler, zero, zero.clone())

    def __call__(self, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take a step down the gradient of a loss's `total`, and return its parts without their history."""
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(parts["total"]).backward()
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.module.parameters(), self.gradient_clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        is_lost = (~norm.isfinite()).float()
        self.skipped = self.skipped + is_lost
        self.in_a_row = (self.in_a_row + is_lost) * is_lost
        return {name: part.detach() for name, part in parts.items()}

    def take_skipped(self) -> float:
        """Return how many steps were left out since the last call; waits for the device.

        Raises:
            StageError: the last steps all were.
        """
        if self.in_a_row >= _IN_A_ROW:
            raise StageError(
                f"train: the gradient of the last {int(self.in_a_row)} steps is not finite; "
                "try a lower train.learning_rate or train.gradient_clip"
            )
        count, self.skipped = float(self.skipped), torch.zeros_like(self.skipped)
        return count

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes from step to step."""
        return {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
