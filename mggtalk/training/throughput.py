"""How fast a run goes, and whether it waits for data or the GPU for it."""

import logging
import time
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import TypeVar

import torch

_logger = logging.getLogger(__name__)

ItemT = TypeVar("ItemT")


class Throughput:
    """Pace since the last reading; validation and checkpoints do not count, what torch.compile takes at first does."""

    def __init__(self, batch_size: int, device: torch.device) -> None:
        """Start the clock.

        Args:
            batch_size: pairs of a step over all workers.
        """
        self._batch_size = batch_size
        self._device = device if device.type == "cuda" and _busy_share(device) is not None else None
        self.restart()

    def restart(self) -> None:
        """Forget what was measured."""
        self._began, self._waited, self._steps = time.perf_counter(), 0.0, 0

    def watched(self, steps: Iterable[ItemT]) -> Iterator[ItemT]:
        """Yield the items of `steps`, counted, with the time that each was waited for."""
        iterator = iter(steps)
        while True:
            asked = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            self._waited += time.perf_counter() - asked
            self._steps += 1
            yield item

    def read(self) -> dict[str, float]:
        """Return frames a second, the share of the time that passed in waiting for data, and how busy the GPU was.

        The latter is NVML's: the share of the last second or so in which some kernel ran.
        """
        passed = time.perf_counter() - self._began
        figures = {"frames_per_s": self._steps * self._batch_size / passed, "data_wait_share": self._waited / passed}
        if self._device is not None and (busy := _busy_share(self._device)) is not None:
            figures["gpu_busy_share"] = busy
        self.restart()
        return figures


def _busy_share(device: torch.device) -> float | None:
    """Return what NVML says of the last second; None without its package, library or a whole GPU."""
    if find_spec("pynvml") is None:
        return None
    from pynvml import NVMLError  # type: ignore[import-untyped]  # noqa: PLC0415  may not be there

    try:
        return torch.cuda.utilization(device) / 100
    except (NVMLError, RuntimeError) as cause:
        _logger.info("train: NVML does not say how busy the GPU is: %s", cause)
        return None
