"""Which operations a piece of code runs, and which of them make the host wait for a device."""

from collections import Counter
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

WAITING = {
    "aten.lift_fresh.default",
    "aten._local_scalar_dense.default",
    "aten.nonzero.default",
    "aten.bincount.default",
}
"""Operations that make a tensor of numbers of the host, or tell the host a number of the device."""


class Operations(TorchDispatchMode):
    """Counts all operations by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    @property
    def names(self) -> set[str]:
        """Of all operations that ran."""
        return set(self.counts)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[str(func)] += 1
        return func(*args, **(kwargs or {}))
