"""Numbers on their way from the device to the host, and the places of a mask whose size such a number says.

What follows a size that only the device knows has to wait for it. Where there is work that does not depend on it, it
can be launched in the meantime, so that the device is never out of work while the host waits and then launches more.
"""

import torch
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor


class AsyncScalar:
    """A number that is copied to the host while other work is launched."""

    def __init__(self, number: Shaped[Tensor, ""]) -> None:
        """Start the copy, behind what the device was given before."""
        self._number = number.to("cpu", non_blocking=number.is_cuda)
        self._arrival: torch.cuda.Event | None = None
        if number.is_cuda:
            self._arrival = torch.cuda.Event()
            self._arrival.record(torch.cuda.current_stream(number.device))

    def wait(self) -> int:
        """Return the number; waits for what was launched before the copy, and for nothing that was launched after."""
        if self._arrival is not None:
            self._arrival.synchronize()
        return int(self._number)


class AsyncNonzero:
    """The places where a mask holds."""

    def __init__(self, mask: Bool[Tensor, "*shape"]) -> None:
        """Start to count them."""
        self.mask = mask
        self._count = AsyncScalar(mask.sum())

    def places(self) -> Int64[Tensor, "num_chosen num_axes"]:
        """Return the indices of the places along every axis, in order; waits for their number as `AsyncScalar` does."""
        count = self._count.wait()
        if count == 0:  # CUDA refuses to look for nothing in an empty mask
            return torch.empty(0, self.mask.ndim, dtype=torch.int64, device=self.mask.device)
        return torch.nonzero_static(self.mask, size=count)
