"""One step of the optimizer, left out where a gradient is not finite."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mggtalk.errors import StageError

_IN_A_ROW = 20
"""Steps without a finite gradient after which a run is lost: its weights, or what it reads, are not numbers."""


class Optimization:
    """AdamW with a limit on the gradient's norm; a gradient whose norm is not finite changes nothing.

    One such gradient makes every weight a NaN, and the rest of a training worthless; one training of twelve ended so
    (docs/experiments.md). The fused AdamW leaves a step out by itself, without waiting for the device, where its
    attribute `found_inf` says so: that is how torch's GradScaler does it, whose changing scale nothing here needs.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[nn.Parameter]],
        device: torch.device,
        *,
        rate: float,
        decay: float,
        gradient_clip: float,
    ) -> None:
        """Take groups of parameters on `device`, with AdamW's learning rate and weight decay."""
        parameters = [{"params": group} for group in groups]
        self.optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=decay, fused=True)
        self._parameters = [parameter for group in groups for parameter in group]
        self._gradient_clip = gradient_clip
        # All workers have the same gradients, so they count alike.
        self._skipped = torch.zeros((), device=device)
        self._in_a_row = torch.zeros((), device=device)

    def __call__(self, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take a step down the gradient of a loss's `total`, and return its parts without their history."""
        self.optimizer.zero_grad(set_to_none=True)
        parts["total"].backward()
        norm = nn.utils.clip_grad_norm_(self._parameters, self._gradient_clip)
        is_lost = (~norm.isfinite()).float()
        self.optimizer.found_inf = is_lost  # type: ignore[attr-defined] # read, but not declared, by torch
        self.optimizer.step()
        self._skipped += is_lost
        self._in_a_row = (self._in_a_row + is_lost) * is_lost
        return {name: part.detach() for name, part in parts.items()}

    def take_skipped(self) -> float:
        """Return how many steps were left out since the last call; waits for the device.

        Raises:
            StageError: the last steps all were.
        """
        if self._in_a_row >= _IN_A_ROW:
            raise StageError(
                f"train: the gradient of the last {int(self._in_a_row)} steps is not finite; a lower "
                "train.learning_rate may help, or the shards hold values that are no numbers"
            )
        count = float(self._skipped)
        self._skipped.zero_()
        return count

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes from step to step."""
        return {"optimizer": self.optimizer.state_dict(), "skipped": self._skipped, "in_a_row": self._in_a_row}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.optimizer.load_state_dict(state["optimizer"])
        self._skipped.copy_(state["skipped"])
        self._in_a_row = state["in_a_row"].to(self._in_a_row)
