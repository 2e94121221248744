"""Measures the pace of a run, its waiting for data and the utilization of the GPU."""

import logging
import time
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import Any, TypeVar

import torch

_logger = logging.getLogger(__name__)

ItemT = TypeVar("ItemT")

_COLLECT_EVERY_S = 4.0
"""Interval at which NVML's utilization samples are collected, between steps; it kept 14 seconds where measured."""


class Throughput:
    """Measures the pace since the last reading, excluding validation and checkpoints but not compilation."""

    def __init__(self, batch_size: int, device: torch.device) -> None:
        """Start the clock.

        Args:
            batch_size: pairs of a step over all workers.
        """
        self._batch_size = batch_size
        self._gpu = GpuUtilization.of(device)
        self.restart()

    def restart(self) -> None:
        """Discard the measurements so far."""
        self._began = self._collected = time.perf_counter()
        self._waited, self._steps = 0.0, 0
        if self._gpu is not None:
            self._gpu.take()

    def watched(self, steps: Iterable[ItemT]) -> Iterator[ItemT]:
        """Yield the items of `steps`, and count them and the time that each was waited for."""
        iterator = iter(steps)
        while True:
            requested = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            now = time.perf_counter()
            self._waited += now - requested
            self._steps += 1
            if self._gpu is not None and now - self._collected > _COLLECT_EVERY_S:
                self._gpu.collect()
                self._collected = now
            yield item

    def read(self) -> dict[str, float]:
        """Return frames per second, the fraction of the time spent waiting for data, and the GPU's utilization.

        The utilization is the fraction of the time in which some kernel ran; it is left out where it is unknown.
        """
        passed = time.perf_counter() - self._began
        figures = {"frames_per_s": self._steps * self._batch_size / passed, "data_wait_fraction": self._waited / passed}
        if self._gpu is not None and (utilization := self._gpu.take()) is not None:
            figures["gpu_utilization"] = utilization
        self.restart()
        return figures


class GpuUtilization:
    """Averages NVML's utilization samples: the fraction of the time in which a kernel of any process ran on the GPU.

    All samples of an interval are averaged, because a single one, as `torch.cuda.utilization` gives it, covers a fifth
    of a second: single samples ranged from 61 to 100 % while the pace hardly changed.
    """

    def __init__(self, nvml: Any, handle: Any) -> None:
        """Store the module `pynvml` and its handle of a GPU."""
        self._nvml = nvml
        self._handle = handle
        self._last = 0
        self._samples: list[int] = []
        self._is_failure_logged = False

    @classmethod
    def of(cls, device: torch.device) -> "GpuUtilization | None":
        """Return the meter of a device; None if it is no GPU, or NVML's package, its library or the GPU is missing."""
        if device.type != "cuda" or find_spec("pynvml") is None:
            return None
        import pynvml  # type: ignore[import-untyped]  # noqa: PLC0415  may not be there

        try:
            pynvml.nvmlInit()
            uuid = torch.cuda.get_device_properties(device).uuid
            return cls(pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}"))
        except (pynvml.NVMLError, RuntimeError, AssertionError) as cause:
            _logger.info("train: NVML gives no GPU utilization: %s", cause)
            return None

    def take(self) -> float | None:
        """Return the mean of the samples since the last call, 0 to 1; None without samples, as on a part of a GPU."""
        self.collect()
        if not self._samples:
            return None
        mean = sum(self._samples) / len(self._samples) / 100
        self._samples.clear()
        return mean

    def collect(self) -> None:
        """Collect the samples since the last call, before NVML drops them."""
        try:
            _, samples = self._nvml.nvmlDeviceGetSamples(
                self._handle, self._nvml.NVML_GPU_UTILIZATION_SAMPLES, self._last
            )
        except self._nvml.NVMLError_NotFound:  # no new sample
            return
        except self._nvml.NVMLError as cause:
            if not self._is_failure_logged:
                _logger.info("train: NVML gives no GPU utilization: %s", cause)
            self._is_failure_logged = True
            return
        fresh = [sample for sample in samples if sample.timeStamp > self._last]
        self._samples += [sample.sampleValue.uiVal for sample in fresh]
        self._last = max((sample.timeStamp for sample in fresh), default=self._last)
