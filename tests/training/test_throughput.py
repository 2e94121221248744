import time
from collections.abc import Iterator

import torch

from mggtalk.training.throughput import Throughput


def slow(pauses: list[float]) -> Iterator[int]:
    for number, pause in enumerate(pauses):
        time.sleep(pause)
        yield number


def test_pace_and_the_share_of_the_time_that_was_waited():
    meter = Throughput(6, torch.device("cpu"))
    for _ in meter.watched(slow([0.1, 0.1])):
        time.sleep(0.1)
    figures = meter.read()
    assert 0 < figures["frames_per_s"] <= 12 / 0.4
    assert 0.1 < figures["data_wait_share"] < 0.9
    assert meter.read()["frames_per_s"] == 0


def test_a_gpu_that_nothing_is_known_of_ends_no_training():
    meter = Throughput(6, torch.device("cuda:63"))
    assert set(meter.read()) == {"frames_per_s", "data_wait_share"}
