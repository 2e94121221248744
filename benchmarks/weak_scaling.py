"""Times training on one and on several GPUs: `python -m benchmarks.weak_scaling SHARDS [--workers 2] [--steps 120]`.

Three runs of `pipelines.train` on Ray Train, each in a process of its own: one worker; several workers with as many
pairs each (weak scaling: efficiency is their pairs a second over as many times the one's); several workers that share
the one's batch, whose losses have to be the one's but for rounding. Paces are medians of the readings after the first.
"""

import argparse
import copy
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from mggtalk.evaluation.curves import read_curves

PARAMS = Path(__file__).parents[1] / "docs" / "params-256px.yaml"
WARM_UP = 2
"""Readings that are left out: kernels are compiled, algorithms chosen."""


class Run(NamedTuple):
    """One training."""

    name: str
    workers: int
    batch_size: int


def parameters(run: Run, steps: int, log_every: int) -> dict[str, Any]:
    """Return the documented parameters, cut down to a run without validation or checkpoints."""
    values: dict[str, Any] = copy.deepcopy(yaml.safe_load(PARAMS.read_text()))
    values["train"] |= {
        "workers": run.workers,
        "batch_size": run.batch_size,
        "steps": steps,
        "log_every": log_every,
        "validation_pairs": 0,
        "checkpoint_every": steps + 1,
    }
    return values


def train(run: Run, shards: Path, steps: int, log_every: int) -> dict[str, list[float]]:
    """Train and return what was logged."""
    with tempfile.TemporaryDirectory() as folder:
        params = Path(folder, "params.yaml")
        params.write_text(yaml.safe_dump(parameters(run, steps, log_every)))
        command = [sys.executable, "-m", "pipelines.train", "--params", str(params), "--artifacts", folder]
        subprocess.run([*command, "--shards", str(shards.resolve())], check=True, stdout=subprocess.DEVNULL)
        return {curve.name: list(curve.values) for curve in read_curves(Path(folder, "training"))}


def main() -> None:
    """Print the paces, then the losses side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32, help="pairs of one worker")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--log-every", type=int, default=10)
    options = parser.parse_args()
    many, batch = options.workers, options.batch
    alone = Run("one worker", 1, batch)
    shared, wide = Run(f"{many} workers, same batch", many, batch), Run(f"{many} workers", many, many * batch)
    logged = {run: train(run, options.shards, options.steps, options.log_every) for run in (alone, wide, shared)}
    pace = {run: statistics.median(curves["frames_per_s"][WARM_UP:]) for run, curves in logged.items()}
    print("| run | pairs a step | pairs/s | efficiency | GPU busy |\n|---|---|---|---|---|")
    for run, curves in logged.items():
        busy = statistics.median(curves.get("gpu_busy_share", [float("nan")])[-3:])
        efficiency = pace[run] / (run.workers * pace[alone])
        print(f"| {run.name} | {run.batch_size} | {pace[run]:.0f} | {efficiency:.3f} | {busy:.2f} |")
    print(f"\n| step | loss, {alone.name} | loss, {shared.name} | difference |\n|---|---|---|---|")
    for number, values in enumerate(zip(logged[alone]["loss/total"], logged[shared]["loss/total"], strict=True), 1):
        print(f"| {number * options.log_every} | {values[0]:.5f} | {values[1]:.5f} | {values[1] - values[0]:+.1e} |")


if __name__ == "__main__":
    main()
