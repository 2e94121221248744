"""Measures the speed of reconstruction and rendering: medians over repeats after a warm-up, frame by frame."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mggtalk.evaluation.protocols import AvatarT, Reenactor
from mggtalk.records import HeadFrame, SourceFrame


@dataclass(frozen=True, slots=True)
class Speed:
    """Speed of one model on one device.

    Attributes:
        reconstruct_ms: median time from a source frame to its avatar.
        animate_render_fps: the inverse of the median time from expression and pose to the finished image.
        batch: frames rendered in one call.
    """

    reconstruct_ms: float
    animate_render_fps: float
    num_gaussians: int
    resolution: int
    batch: int
    device: str
    threads: int


def measure_speed(
    reenactor: Reenactor[AvatarT],
    source: SourceFrame,
    drivers: Sequence[HeadFrame],
    *,
    warmup: int,
    repeats: int,
    device: str,
    threads: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Speed:
    """Measure the speed of `reenactor` on one clip.

    Args:
        drivers: used in turn. warmup: unmeasured calls (compilation, caches, allocation).
        device, threads: name of the device and number of threads, for the record.

    Raises:
        ValueError: there is no driver or no repeat.
    """
    if not drivers or repeats < 1:
        raise ValueError(f"got {len(drivers)} drivers and {repeats} repeats, expected at least one of each")
    avatar = reenactor.reconstruct(source)
    reconstruct = _median_seconds(lambda _: reenactor.reconstruct(source), warmup, repeats, clock)

    def render(turn: int) -> object:
        driver = drivers[turn % len(drivers)]
        return reenactor.render(avatar, driver.expression, driver.head_to_camera)

    render_seconds = _median_seconds(render, warmup, repeats, clock)
    return Speed(
        reconstruct_ms=round(reconstruct * 1e3, 3),
        animate_render_fps=round(1.0 / render_seconds, 3),
        num_gaussians=reenactor.num_gaussians(avatar),
        resolution=reenactor.resolution,
        batch=1,
        device=device,
        threads=threads,
    )


def _median_seconds(call: Callable[[int], object], warmup: int, repeats: int, clock: Callable[[], float]) -> float:
    seconds = []
    for turn in range(warmup + repeats):
        start = clock()
        call(turn)
        seconds.append(clock() - start)
    return statistics.median(seconds[warmup:])
