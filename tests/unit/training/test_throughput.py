import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch

from mggtalk.training import throughput
from mggtalk.training.throughput import GpuUtilization, Throughput


class Nvml:
    """Stands in for `pynvml` where there is no GPU: its samples, as times and percentages, and its error."""

    class NVMLError(Exception):
        pass

    class NVMLError_NotFound(NVMLError):  # noqa: N801, N818
        pass

    NVML_GPU_UTILIZATION_SAMPLES = 1

    def __init__(self) -> None:
        self.samples: list[tuple[int, int]] = []
        self.refusal: Nvml.NVMLError = self.NVMLError_NotFound()

    def nvmlDeviceGetSamples(self, handle: str, kind: int, last: int) -> tuple[int, list[SimpleNamespace]]:  # noqa: N802
        assert (handle, kind) == ("the GPU", 1)
        fresh = [sample for sample in self.samples if sample[0] >= last]  # the last one once more
        if not fresh:
            raise self.refusal
        return 1, [SimpleNamespace(timeStamp=at, sampleValue=SimpleNamespace(uiVal=value)) for at, value in fresh]


def slow(pauses: list[float]) -> Iterator[int]:
    for number, pause in enumerate(pauses):
        time.sleep(pause)
        yield number


def test_pace_and_the_fraction_of_the_time_spent_waiting():
    meter = Throughput(6, torch.device("cpu"))
    for _ in meter.watched(slow([0.1, 0.1])):
        time.sleep(0.1)
    figures = meter.read()
    assert 0 < figures["frames_per_s"] <= 12 / 0.4
    assert 0.1 < figures["data_wait_fraction"] < 0.9
    assert meter.read()["frames_per_s"] == 0


def test_a_gpu_that_nothing_is_known_of_ends_no_training():
    meter = Throughput(6, torch.device("cuda:63"))
    assert set(meter.read()) == {"frames_per_s", "data_wait_fraction"}


def test_utilization_is_the_mean_of_all_samples_since_the_last_call():
    nvml = Nvml()
    use = GpuUtilization(nvml, "the GPU")
    assert use.take() is None
    nvml.samples = [(10, 100), (20, 60), (30, 50)]
    assert use.take() == pytest.approx(0.7)
    assert use.take() is None
    nvml.samples += [(40, 90), (50, 100)]
    assert use.take() == pytest.approx(0.95)


def test_samples_from_before_a_restart_do_not_count(monkeypatch):
    nvml = Nvml()
    monkeypatch.setattr(GpuUtilization, "of", lambda device: GpuUtilization(nvml, "the GPU"))
    nvml.samples = [(10, 0)]
    meter = Throughput(6, torch.device("cpu"))
    nvml.samples += [(20, 0), (30, 0)]
    meter.restart()
    assert "gpu_utilization" not in meter.read()
    nvml.samples += [(40, 80)]
    assert meter.read()["gpu_utilization"] == pytest.approx(0.8)


def test_samples_that_nvml_drops_before_the_log_asks_count_as_well(monkeypatch):
    nvml = Nvml()
    monkeypatch.setattr(GpuUtilization, "of", lambda device: GpuUtilization(nvml, "the GPU"))
    monkeypatch.setattr(throughput, "_COLLECT_EVERY_S", 0.0)
    meter = Throughput(6, torch.device("cpu"))
    for step in meter.watched(range(3)):
        nvml.samples = [(step + 1, 30 * step)]  # the only one that it still knows
    assert meter.read()["gpu_utilization"] == pytest.approx(0.3)


def test_a_gpu_whose_samples_are_refused_is_logged_once(caplog):
    nvml = Nvml()
    use = GpuUtilization(nvml, "the GPU")
    nvml.refusal = Nvml.NVMLError("Not Supported")
    caplog.set_level("INFO")
    assert use.take() is None
    assert use.take() is None
    assert caplog.messages == ["train: NVML gives no GPU utilization: Not Supported"]


@pytest.mark.gpu
def test_nvml_tells_of_a_gpu_at_work():
    use = GpuUtilization.of(torch.device("cuda:0"))
    assert use is not None
    matrix, began = torch.rand(8192, 8192, device="cuda"), time.perf_counter()
    use.take()
    while time.perf_counter() - began < 2:
        for _ in range(5):
            matrix @ matrix
        torch.cuda.synchronize()
    utilization = use.take()
    assert utilization is not None
    assert 0.5 < utilization <= 1
