"""How fast a run goes, and whether it waits for data or the GPU for it."""

import logging
import time
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import Any, TypeVar

import torch

_logger = logging.getLogger(__name__)

ItemT = TypeVar("ItemT")

_GATHERED_EVERY_S = 4.0
"""How often NVML's notes are gathered, between steps; it remembers the last 14 seconds, where that was looked at."""


class Throughput:
    """Pace since the last reading; validation and checkpoints do not count, what torch.compile takes at first does."""

    def __init__(self, batch_size: int, device: torch.device) -> None:
        """Start the clock.

        Args:
            batch_size: pairs of a step over all workers.
        """
        self._batch_size = batch_size
        self._gpu = GpuUse.of(device)
        self.restart()

    def restart(self) -> None:
        """Forget what was measured."""
        self._began = self._gathered = time.perf_counter()
        self._waited, self._steps = 0.0, 0
        if self._gpu is not None:
            self._gpu.take()

    def watched(self, steps: Iterable[ItemT]) -> Iterator[ItemT]:
        """Yield the items of `steps`, counted, with the time that each was waited for."""
        iterator = iter(steps)
        while True:
            asked = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            now = time.perf_counter()
            self._waited += now - asked
            self._steps += 1
            if self._gpu is not None and now - self._gathered > _GATHERED_EVERY_S:
                self._gpu.gather()
                self._gathered = now
            yield item

    def read(self) -> dict[str, float]:
        """Return frames a second, the share of the time that passed in waiting for data, and how busy the GPU was.

        The latter is the share of the time in which some kernel ran, and is left out where that is not known.
        """
        passed = time.perf_counter() - self._began
        figures = {"frames_per_s": self._steps * self._batch_size / passed, "data_wait_fraction": self._waited / passed}
        if self._gpu is not None and (busy := self._gpu.take()) is not None:
            figures["gpu_utilization"] = busy
        self.restart()
        return figures


class GpuUse:
    """What NVML notes of a GPU several times a second: the share of that time in which some kernel ran, whoever's.

    All notes of an interval, for one alone, as `torch.cuda.utilization` gives it, tells of a fifth of a second: such
    notes went from 61 to 100 % while the pace hardly changed.
    """

    def __init__(self, nvml: Any, handle: Any) -> None:
        """Take the module `pynvml` and its handle of a GPU."""
        self._nvml = nvml
        self._handle = handle
        self._last = 0
        self._notes: list[int] = []
        self._is_told = False

    @classmethod
    def of(cls, device: torch.device) -> "GpuUse | None":
        """Return that of a device; None if it is no GPU, or NVML's package, its library or the GPU is not there."""
        if device.type != "cuda" or find_spec("pynvml") is None:
            return None
        import pynvml  # type: ignore[import-untyped]  # noqa: PLC0415  may not be there

        try:
            pynvml.nvmlInit()
            uuid = torch.cuda.get_device_properties(device).uuid
            return cls(pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}"))
        except (pynvml.NVMLError, RuntimeError, AssertionError) as cause:
            _logger.info("train: NVML does not say how busy the GPU is: %s", cause)
            return None

    def take(self) -> float | None:
        """Return the mean of what was noted since the last call, 0 to 1; None if nothing was, as on a part of a GPU."""
        self.gather()
        if not self._notes:
            return None
        mean = sum(self._notes) / len(self._notes) / 100
        self._notes.clear()
        return mean

    def gather(self) -> None:
        """Keep what was noted since the last call, before NVML forgets it."""
        try:
            _, samples = self._nvml.nvmlDeviceGetSamples(
                self._handle, self._nvml.NVML_GPU_UTILIZATION_SAMPLES, self._last
            )
        except self._nvml.NVMLError_NotFound:  # nothing since
            return
        except self._nvml.NVMLError as cause:
            if not self._is_told:
                _logger.info("train: NVML does not say how busy the GPU is: %s", cause)
            self._is_told = True
            return
        fresh = [sample for sample in samples if sample.timeStamp > self._last]
        self._notes += [sample.sampleValue.uiVal for sample in fresh]
        self._last = max((sample.timeStamp for sample in fresh), default=self._last)
