"""Stage `train`: shards become a predictor; see `mggtalk.training.loop`."""

import argparse
import dataclasses
import logging
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mggtalk.errors import run_main
from mggtalk.files import atomic_write, prune
from mggtalk.fingerprint import code_digest, content_key, library_versions
from mggtalk.models.checkpoint import dump_predictor
from mggtalk.params import load_group
from mggtalk.runtime.metrics_logger import has_metrics, metrics_logger
from mggtalk.runtime.progress import Progress
from mggtalk.runtime.stage_command import (
    StageArguments,
    add_shards_argument,
    shards_place,
    stage_arguments,
    stage_parser,
    start_logging,
)
from mggtalk.runtime.train_runner import Launcher, run_training
from mggtalk.shards.reader import Shards
from mggtalk.training.config import TrainConfig
from mggtalk.training.images import Reported, scalar_metrics
from mggtalk.training.loop import Report, Worker, check_fit, train
from mggtalk.training.losses.perceptual import find_network

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """What every worker is told.

    Attributes:
        shards, checkpoint, model: absolute, for Ray Train gives its workers a working directory of their own; of the
            shards also a URL. The checkpoint is of this very run, by its content key; the model is the result's folder.
        origin: for people.
    """

    settings: TrainConfig
    shards: Path | str
    checkpoint: Path
    run_key: str
    model: Path
    origin: Mapping[str, Any]


def run(arguments: StageArguments, launcher: Launcher, shards_url: str | None = None) -> None:
    """Train on the split `train`, and write the model and the metrics of the training.

    Args:
        shards_url: reads the shards from there (see `mggtalk.shards.open`), not from the artifacts.
    """
    settings = load_group(arguments.params, "train", TrainConfig)
    artifacts = arguments.artifacts
    place = shards_place(artifacts, shards_url)
    shards = Shards(place)  # a missing or damaged data set shows here, before any worker starts
    check_fit(settings, shards)  # and what does not fit, before anything of a run before is lost
    network = find_network(settings.loss)
    origin = {"settings": dataclasses.asdict(settings), "data": shards.index_sha256()}
    if network:
        origin["perceptual_network"] = network.sha256
    run_key = content_key(
        **origin | {"settings": settings.course()},
        code=code_digest("mggtalk.training.loop"),
        libraries=library_versions("torch", "gsplat", *(["transformers"] if network else [])),
    )
    checkpoint = artifacts.spool("train") / f"{run_key}.pt"
    prune(checkpoint.parent, {checkpoint.name})
    if checkpoint.is_file() and not has_metrics(artifacts.training):
        _logger.warning("train: %s: the metrics of the run are gone; training anew", artifacts.training)
        checkpoint.unlink()
    begun = time.monotonic()
    with (
        metrics_logger(artifacts.training, resume=checkpoint.is_file()) as log,
        Progress("train", settings.steps, "step") as progress,
    ):
        latest: dict[str, float] = {}

        def report(step: int, metrics: Mapping[str, Reported]) -> None:
            log(step, metrics)
            latest.update(scalar_metrics(metrics))
            progress.reach(step, f"loss {latest['loss/total']:.3f}" if "loss/total" in latest else "")

        run_training(
            _train,
            TrainingRun(settings, place, checkpoint.resolve(), run_key, artifacts.model.resolve(), origin),
            num_workers=settings.workers,
            use_gpu=torch.cuda.is_available(),
            storage=artifacts.spool("ray"),
            on_report=report,
            launcher=launcher,
        )
    figures = ", ".join(f"{name} {latest[name]:.4g}" for name in ("loss/total", "val/psnr_head") if name in latest)
    _logger.info("train: %d steps, %s, %.1f s", settings.steps, figures or "done before", time.monotonic() - begun)


def _train(run: TrainingRun, worker: Worker, report: Report) -> None:
    predictor = train(run.settings, Shards(run.shards), worker, run.checkpoint, run.run_key, report)
    if worker.rank == 0:
        for name, content in dump_predictor(predictor, dict(run.origin)).items():
            atomic_write(run.model / name, content)


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says how and on what is trained."""
    parser.add_argument(
        "--launcher", choices=("ray", "local"), default="ray", help="local: in this process, without Ray; default: ray"
    )
    add_shards_argument(parser)


def main() -> int:
    """Run the stage on the process's command line and return its exit code."""
    parser = stage_parser(__doc__ or "")
    add_training_arguments(parser)
    options = parser.parse_args()
    start_logging()
    return run_main(lambda: run(stage_arguments(options), options.launcher, options.shards))


if __name__ == "__main__":
    sys.exit(main())
