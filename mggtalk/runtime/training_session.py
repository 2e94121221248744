"""Runs a training with its metrics, progress bar and checkpoint in place."""

import logging
import time
from collections.abc import Mapping

import torch

from mggtalk.artifacts import Artifacts
from mggtalk.files import prune
from mggtalk.runtime.metrics_logger import has_metrics, metrics_logger
from mggtalk.runtime.progress import Progress
from mggtalk.runtime.train_runner import Launcher, run_training
from mggtalk.training.images import Reported, scalar_metrics
from mggtalk.training.run import TrainingRun

_logger = logging.getLogger(__name__)


def run_logged(run: TrainingRun, artifacts: Artifacts, launcher: Launcher) -> None:
    """Run the training from its checkpoint, or from the start where the metrics of the checkpoint's run are gone.

    Checkpoints of other runs are removed.
    """
    prune(run.checkpoint.parent, {run.checkpoint.name})
    if run.checkpoint.is_file() and not has_metrics(artifacts.training):
        _logger.warning("train: %s: the metrics of the run are gone; training anew", artifacts.training)
        run.checkpoint.unlink()
    begun, steps = time.monotonic(), run.settings.steps
    latest: dict[str, float] = {}
    with (
        metrics_logger(artifacts.training, resume=run.checkpoint.is_file()) as log,
        Progress("train", steps, "step") as progress,
    ):

        def report(step: int, metrics: Mapping[str, Reported]) -> None:
            log(step, metrics)
            latest.update(scalar_metrics(metrics))
            progress.reach(step, f"loss {latest['loss/total']:.3f}" if "loss/total" in latest else "")

        run_training(
            TrainingRun.work,
            run,
            num_workers=run.settings.workers,
            use_gpu=torch.cuda.is_available(),
            storage=artifacts.staging("ray"),
            on_report=report,
            launcher=launcher,
        )
    figures = ", ".join(f"{name} {latest[name]:.4g}" for name in ("loss/total", "val/psnr_head") if name in latest)
    _logger.info("train: %d steps, %s, %.1f s", steps, figures or "done before", time.monotonic() - begun)
