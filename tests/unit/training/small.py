"""Sets up training runs of seconds, with helpers that several test modules share."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mggtalk.models.predictor import TalkingHeadPredictor
from mggtalk.shards import Shards
from mggtalk.shards.corrupt_samples import OnCorruptSample
from mggtalk.training.config import AugmentConfig, LossWeights, TrainConfig
from mggtalk.training.images import LoggedImage, Reported, image_metrics, scalar_metrics
from mggtalk.training.loop import Worker, train
from tests.unit.models.small import small_model

ALONE = Worker(rank=0, world_size=1, device=torch.device("cpu"))


def small_training(**changes: Any) -> TrainConfig:
    """Return the parameters of a run of a few steps."""
    settings = TrainConfig(
        seed=0,
        workers=1,
        steps=4,
        batch_size=2,
        track_pairs=2,
        loader_workers=1,
        on_corrupt_sample=OnCorruptSample.STOP,
        coarse_fraction=0.0,
        geometry_fraction=1.0,
        ema_decay=0.0,
        learning_rate=2e-3,
        warmup_steps=1,
        weight_decay=1e-4,
        gradient_clip=1.0,
        compile=False,
        log_every=2,
        validate_every=1000,
        validation_pairs=0,
        checkpoint_every=1,
        augment=AugmentConfig(color=0.0, mirror=False, roll_deg=0.0, zoom=0.0, shift=0.0),
        loss=LossWeights(
            ssim=0.2,
            mse=0.0,
            eyes_and_mouth=0.1,
            alpha=0.1,
            landmarks=0.5,
            depth_offset=0.01,
            depth_offset_face=0.05,
            perceptual=0.0,
            perceptual_network="resnet_18",
        ),
        model=small_model(),
    )
    return dataclasses.replace(settings, **changes)


class Reports:
    """Records a run's reports by step; with `stop_at` it raises at that step, like an interruption."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.metrics: dict[int, dict[str, float]] = {}
        self.images: dict[int, dict[str, LoggedImage]] = {}
        self._stop_at = stop_at

    def __call__(self, step: int, metrics: Mapping[str, Reported]) -> None:
        self.metrics[step], self.images[step] = scalar_metrics(metrics), image_metrics(metrics)
        if step == self._stop_at:
            raise InterruptedError(f"cut off at step {step}")


def run(
    settings: TrainConfig,
    shards: Shards,
    reports: Reports | None = None,
    checkpoint: Path | None = None,
    run_key: str = "run",
    worker: Worker = ALONE,
) -> TalkingHeadPredictor:
    """Train, by default alone and without a checkpoint."""
    return train(settings, shards, worker, checkpoint, run_key, reports or Reports())


def weights(predictor: TalkingHeadPredictor) -> dict[str, torch.Tensor]:
    """Return a copy of the weights."""
    return {name: value.detach().clone() for name, value in predictor.state_dict().items()}


def same_weights(first: TalkingHeadPredictor, second: TalkingHeadPredictor) -> bool:
    """Return whether two predictors have equal weights, to the bit."""
    ours, theirs = weights(first), weights(second)
    return all(torch.equal(ours[name], theirs[name]) for name in ours)
