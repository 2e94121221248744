"""Times CPU training and rendering alone and beside busy processes: `python -m benchmarks.busy_machine SHARDS`.

Each row is a process of its own, because OpenMP reads its settings when torch loads. `spinning` is what libgomp does
unless told otherwise: threads that wait for each other keep their cores. `passive` is what `mggtalk` sets: they sleep.
"""

import argparse
import dataclasses
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

POLICIES = {
    "spinning": {"GOMP_SPINCOUNT": "300000"},  # libgomp's own number where no policy is set
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
}
PARAMS = Path(__file__).parents[1] / "params.yaml"
_BUSY = "while True: pass"


def main() -> None:
    """Print a row for each policy and number of busy processes; ratios are to the first row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards", type=Path)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        measure(options.shards, options.steps, options.threads)
        return
    base: list[float] = []
    print("| waiting threads | busy processes | training steps/s | ratio | rendered frames/s | ratio |\n|" + "---|" * 6)
    for busy in (0, os.cpu_count() or 1):
        for name, variables in POLICIES.items():
            rates = run(options, variables, busy)
            base = base or rates
            cells = [
                cell for rate, first in zip(rates, base, strict=True) for cell in (f"{rate:.2f}", f"{rate / first:.2f}")
            ]
            print(f"| {name} | {busy} | {' | '.join(cells)} |", flush=True)


def run(options: argparse.Namespace, variables: dict[str, str], busy: int) -> list[float]:
    """Return training steps and rendered frames a second of a child, beside so many processes that do nothing else."""
    command = [sys.executable, "-m", "benchmarks.busy_machine", str(options.shards), "--child"]
    command += ["--steps", str(options.steps), "--threads", str(options.threads)]
    with ExitStack() as stack:
        for _ in range(busy):
            stack.callback(subprocess.Popen([sys.executable, "-c", _BUSY]).kill)
        output = subprocess.run(
            command, env={**os.environ, **variables}, check=True, capture_output=True, text=True
        ).stdout
    return [float(number) for number in output.splitlines()[-1].split()]


def measure(folder: Path, steps: int, threads: int) -> None:
    """Train, render, and print both rates."""
    import torch  # noqa: PLC0415  after the environment is set

    from mggtalk.models.reenactor import Reenactor  # noqa: PLC0415
    from mggtalk.params import load_group  # noqa: PLC0415
    from mggtalk.shards.reader import Shards  # noqa: PLC0415
    from mggtalk.training.config import TrainConfig  # noqa: PLC0415
    from mggtalk.training.loop import Worker, train  # noqa: PLC0415

    torch.set_num_threads(threads)
    settings = dataclasses.replace(
        load_group(PARAMS, "train", TrainConfig), steps=steps, log_every=steps // 3, validation_pairs=0
    )
    shards, times = Shards(folder), []
    predictor = train(
        settings, shards, Worker(0, 1, torch.device("cpu")), None, "", lambda *_: times.append(time.perf_counter())
    )
    training = (steps - steps // 3) / (times[-1] - times[0])
    reenactor, clip = Reenactor(predictor, "cpu"), shards.clips("train")[0]
    head = reenactor.reconstruct(shards.source_frame(clip.clip_id, clip.source_frames[0], reenactor.resolution))
    drivers = [shards.head_frame(clip.clip_id, frame, reenactor.resolution) for frame in range(10)]
    reenactor.render(head, drivers[0].expression, drivers[0].head_to_camera)
    begun = time.perf_counter()
    for driver in drivers:
        reenactor.render(head, driver.expression, driver.head_to_camera)
    print(training, len(drivers) / (time.perf_counter() - begun))


if __name__ == "__main__":
    main()
