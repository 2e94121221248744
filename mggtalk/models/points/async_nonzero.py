"""Asynchronous `nonzero`: copies the count to the host while the GPU keeps working.

The host must wait for a size that only the device knows. Work that does not depend on the size can be launched in the
meantime, so the device stays busy while the host waits.
"""

import torch
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor


class AsyncScalar:
    """Copies a number to the host while other work is launched."""

    def __init__(self, number: Shaped[Tensor, ""]) -> None:
        """Start the copy, queued behind the work that the device already has."""
        self._number = number.to("cpu", non_blocking=number.is_cuda)
        self._arrival: torch.cuda.Event | None = None
        if number.is_cuda:
            self._arrival = torch.cuda.Event()
            self._arrival.record(torch.cuda.current_stream(number.device))

    def wait(self) -> int:
        """Return the number; waits for the work that was launched before the copy, but for none launched after it."""
        if self._arrival is not None:
            self._arrival.synchronize()
        return int(self._number)


class AsyncNonzero:
    """Finds the indices at which a mask is true."""

    def __init__(self, mask: Bool[Tensor, "*shape"]) -> None:
        """Start to count them."""
        self.mask = mask
        self._count = AsyncScalar(mask.sum())

    def indices(self) -> Int64[Tensor, "num_chosen num_axes"]:
        """Return the indices along every axis, in order; waits for their count as `AsyncScalar` does."""
        count = self._count.wait()
        if count == 0:  # CUDA's nonzero_static fails on an empty mask
            return torch.empty(0, self.mask.ndim, dtype=torch.int64, device=self.mask.device)
        return torch.nonzero_static(self.mask, size=count)
