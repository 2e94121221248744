"""Takes the optimizer's steps, and skips those whose gradient is not finite."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mggtalk.errors import StageError

_MAX_SKIPPED_IN_A_ROW = 20
"""Steps without a finite gradient that end a run, because its weights or its data are no longer finite."""


class Optimization:
    """AdamW with gradient clipping; a gradient whose norm is not finite changes nothing.

    One such gradient would turn every weight into a NaN; one training of twelve ended this way (docs/experiments.md).
    The fused AdamW skips a step without waiting for the device if its attribute `found_inf` is set. torch's GradScaler
    uses the same attribute; its changing scale is not needed here.
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
        """Create AdamW for groups of parameters on `device`, with its learning rate and weight decay."""
        parameters = [{"params": group} for group in groups]
        self.optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=decay, fused=True)
        self._parameters = [parameter for group in groups for parameter in group]
        self._gradient_clip = gradient_clip
        # All workers have the same gradients, so their counts agree.
        self._skipped = torch.zeros((), device=device)
        self._in_a_row = torch.zeros((), device=device)

    def __call__(self, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take a step down the gradient of the loss's `total`, and return its parts detached."""
        self.optimizer.zero_grad(set_to_none=True)
        parts["total"].backward()
        norm = nn.utils.clip_grad_norm_(self._parameters, self._gradient_clip)
        is_skipped = (~norm.isfinite()).float()
        self.optimizer.found_inf = is_skipped  # type: ignore[attr-defined] # read, but not declared, by torch
        self.optimizer.step()
        self._skipped += is_skipped
        self._in_a_row = (self._in_a_row + is_skipped) * is_skipped
        return {name: part.detach() for name, part in parts.items()}

    def take_skipped(self) -> float:
        """Return the number of steps skipped since the last call; waits for the device.

        Raises:
            StageError: all of the last steps were skipped.
        """
        if self._in_a_row >= _MAX_SKIPPED_IN_A_ROW:
            raise StageError(
                f"train: the gradient of the last {int(self._in_a_row)} steps is not finite; a lower "
                "train.learning_rate may help, or the shards hold values that are no numbers"
            )
        count = float(self._skipped)
        self._skipped.zero_()
        return count

    def state_dict(self) -> dict[str, Any]:
        """Return all state that changes from step to step."""
        return {"optimizer": self.optimizer.state_dict(), "skipped": self._skipped, "in_a_row": self._in_a_row}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.optimizer.load_state_dict(state["optimizer"])
        self._skipped.copy_(state["skipped"])
        self._in_a_row = state["in_a_row"].to(self._in_a_row)
