"""Trains the predictor, with the same loop on one worker or many, on CPU or CUDA.

A step depends on the parameters, the shards and its number alone, so a run that resumes from its last checkpoint gives
the result of an uninterrupted one.
"""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import LambdaLR

from mggtalk.errors import StageError
from mggtalk.geometry.head.landmark_sets import landmark_set
from mggtalk.models.predictor import TalkingHeadPredictor
from mggtalk.records import Split
from mggtalk.shards.corrupt_samples import OnCorruptSample
from mggtalk.shards.reader import Shards
from mggtalk.training.checkpoint import RunState, read_state, restored, save_state
from mggtalk.training.config import TrainConfig
from mggtalk.training.data.augmentation import Augmentation, MirrorIndices, mirrored_expression_indices, mirrored_tracks
from mggtalk.training.data.loader import LoaderConfig, PairLoader
from mggtalk.training.data.pairs import PairReader
from mggtalk.training.ema import EMA
from mggtalk.training.images import Reported
from mggtalk.training.init_blendshapes import fit_blendshapes
from mggtalk.training.losses.perceptual import make_perceptual
from mggtalk.training.losses.training_loss import TrainingStep
from mggtalk.training.optimization import Optimization
from mggtalk.training.throughput import Throughput
from mggtalk.training.validation import validate_pairs

_logger = logging.getLogger(__name__)

_FITTED_PAIRS = 2048
"""Pairs whose tracks initialise the deformation; four times as many bring landmarks of unseen people 1 % nearer."""

Report = Callable[[int, Mapping[str, Reported]], None]


@dataclass(frozen=True, slots=True)
class Worker:
    """Rank and device of this worker; with several workers the process group is initialised."""

    rank: int
    world_size: int
    device: torch.device


def train(
    settings: TrainConfig, shards: Shards, worker: Worker, checkpoint: Path | None, run_key: str, report: Report
) -> TalkingHeadPredictor:
    """Train a predictor from the seed, or from the checkpoint of the same run, and return it.

    Args:
        checkpoint: path at which worker 0 keeps the state of the run; None keeps none.
        run_key: identifies parameters, data and code; a checkpoint with another key is ignored.
        report: called on worker 0 with the step, its metrics and images.

    Raises:
        StageError: the shards hold no training clips, or do not fit the model. ShardError: a sample is damaged.
        WeightsError: the network of the perceptual term is missing.
    """
    check_fit(settings, shards)
    content = _checkpoint(checkpoint, run_key, worker)
    _make_reproducible(settings.seed, worker.device)
    loader = make_loader(settings, shards, worker)
    step_module = _training_step(settings, shards, worker.device, None if content else loader)
    optimize, schedule = _optimization(settings, step_module, worker.device)
    ema = EMA(step_module.predictor, settings.ema_decay)
    augment = _augmentation(settings, shards, worker.device)
    state = restored(content, RunState(step_module, ema.module, optimize, schedule, loader))
    parallel = None
    meter, replaced = Throughput(settings.batch_size, worker.device), 0
    for loaded in meter.watched(loader):
        numbers = (loader.rank_slice(loaded.step, size) for size in (settings.batch_size, settings.track_pairs))
        source, driver, target, tracks = augment(loaded.batch.unpack(worker.device), *numbers)
        done, replaced = loaded.step + 1, replaced + loaded.replaced
        is_logged = done % settings.log_every == 0 or done == settings.steps
        is_coarse, learns_geometry = loaded.step < settings.coarse_steps, loaded.step < settings.geometry_steps
        if parallel is None or loaded.step in (settings.coarse_steps, settings.geometry_steps):
            step_module.predictor.set_trained(coarse=is_coarse, geometry=learns_geometry)
            parallel = _parallel(step_module, worker)
        used_tracks = tracks if learns_geometry or is_logged else None
        parts = optimize(parallel(source, driver, target, used_tracks, coarse=is_coarse))
        schedule.step()
        ema.update(step_module.predictor, loaded.step)
        metrics: dict[str, Reported] = {"skipped_steps": optimize.take_skipped()} if is_logged else {}
        if is_logged and settings.on_corrupt_sample is OnCorruptSample.SKIP:
            metrics["replaced_pairs"], replaced = float(_summed(torch.tensor(replaced), worker)), 0
        if is_logged:
            rate = float(schedule.get_last_lr()[0])
            metrics |= {**_loss_means(parts, worker), "learning_rate": rate, **meter.read()}
        if worker.rank != 0:
            continue
        if done % settings.validate_every == 0 or done == settings.steps:
            metrics |= validate_pairs(ema.module, shards, settings, worker.device)
            meter.restart()
        if metrics:
            report(done, metrics)
        if checkpoint and (done % settings.checkpoint_every == 0 or done == settings.steps):
            save_state(checkpoint, run_key, done, state)
            meter.restart()
    return ema.module.eval()


def _training_step(
    settings: TrainConfig, shards: Shards, device: torch.device, loader: PairLoader | None
) -> TrainingStep:
    """Build the module to train; with a `loader`, fit its initial blendshapes to the tracks of the first pairs."""
    step = TrainingStep(TalkingHeadPredictor(settings.model), settings.loss, make_perceptual(settings.loss, device)).to(
        device
    )
    if loader:
        step.predictor.deformation.init_blendshapes(_blendshapes(settings, shards, loader))
    if settings.compile and device.type == "cuda":
        step.compile_networks()
    return step


def _optimization(settings: TrainConfig, step: TrainingStep, device: torch.device) -> tuple[Optimization, LambdaLR]:
    """Build the optimizer and its schedule; geometry has its own schedule, over the steps in which it learns."""
    geometry = [parameter for network in step.predictor.geometry for parameter in network.parameters()]
    known = {id(parameter) for parameter in geometry}
    others = [parameter for parameter in step.parameters() if id(parameter) not in known]
    optimize = Optimization(
        (others, geometry),
        device,
        rate=settings.learning_rate,
        decay=settings.weight_decay,
        gradient_clip=settings.gradient_clip,
    )
    factors: list[Callable[[int], float]] = [
        partial(learning_rate_factor, warmup=settings.warmup_steps, steps=steps)
        for steps in (settings.steps, settings.geometry_steps)
    ]
    return optimize, LambdaLR(optimize.optimizer, factors)


def _parallel(module: TrainingStep, worker: Worker) -> nn.Module:
    """Wrap the module so that the workers average the gradients of its trainable parameters."""
    # Buffers are constants, so there is no need to broadcast them.
    return module if worker.world_size == 1 else DistributedDataParallel(module, broadcast_buffers=False)


def _augmentation(settings: TrainConfig, shards: Shards, device: torch.device | str = "cpu") -> Augmentation:
    return Augmentation(settings.augment, settings.seed, _mirror_indices(settings, shards), device)


def _mirror_indices(settings: TrainConfig, shards: Shards) -> MirrorIndices | None:
    if not settings.augment.mirror:
        return None
    meta = shards.meta(shards.clips(Split.TRAIN)[0].clip_id)
    landmarks = torch.from_numpy(landmark_set(meta.landmark_set).mirror)
    return MirrorIndices(landmarks, mirrored_expression_indices(meta.expression_names))


def _blendshapes(settings: TrainConfig, shards: Shards, loader: PairLoader) -> Tensor:
    """Fit the deformation's initial blendshapes to the tracks of the run's first pairs, and to their mirror images.

    Raises:
        StageError: the tracks hold values that are no numbers. ShardError: a sample is damaged.
    """
    tracks, indices = loader.load_tracks(_FITTED_PAIRS), _mirror_indices(settings, shards)
    blendshapes = fit_blendshapes(tracks, *([mirrored_tracks(tracks, indices)] if indices else []))
    if not blendshapes.isfinite().all():
        raise StageError(f"{shards.root}: the tracks of the training split hold values that are no numbers")
    return blendshapes


def make_loader(settings: TrainConfig, shards: Shards, worker: Worker) -> PairLoader:
    """Return the loader of one worker, at the first step.

    Raises:
        StageError: the shards hold no training clips.
    """
    reader = PairReader(shards, Split.TRAIN, settings.model.resolution, settings.seed)
    loader_settings = LoaderConfig(
        settings.steps,
        settings.batch_size,
        settings.track_pairs,
        settings.loader_workers,
        settings.on_corrupt_sample,
        device=worker.device,
    )
    return PairLoader(reader, loader_settings, worker.rank, worker.world_size)


def learning_rate_factor(step: int, warmup: int, steps: int) -> float:
    """Return the factor of the learning rate at `step`: a linear rise to 1, then a half cosine down to 0.01."""
    if step < warmup:
        return (step + 1) / warmup
    progress = min((step - warmup) / max(steps - warmup, 1), 1.0)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))


def _checkpoint(checkpoint: Path | None, run_key: str, worker: Worker) -> dict[str, Any] | None:
    """Read the checkpoint on worker 0 and broadcast it, because the others may not see its file."""
    content = read_state(checkpoint, run_key) if checkpoint and worker.rank == 0 else None
    if worker.world_size > 1:
        contents = [content]
        distributed.broadcast_object_list(contents, src=0, device=worker.device)
        content = contents[0]
    return content


def check_fit(settings: TrainConfig, shards: Shards) -> None:
    """Check that the shards fit the model and its training, before anything is computed.

    Raises:
        StageError: they do not.
    """
    model = settings.model
    for clip in shards.clips(Split.TRAIN)[:1]:  # one `shards` stage made all of them with the same parameters
        meta = shards.meta(clip.clip_id)
        if model.expression_size != len(meta.expression_names):
            raise StageError(
                f"train.model.expression_size: got {model.expression_size}, "
                f"the shards have {len(meta.expression_names)} coefficients"
            )
        if model.landmark_set != meta.landmark_set:
            raise StageError(f"train.model.landmark_set: got {model.landmark_set}, the shards have {meta.landmark_set}")
        if model.resolution > meta.size:
            raise StageError(
                f"train.model.resolution: got {model.resolution}, at most the shards' {meta.size} expected"
            )
        _augmentation(settings, shards)  # raises if the coefficients cannot be mirrored


def _loss_means(parts: Mapping[str, Tensor], worker: Worker) -> dict[str, float]:
    """Average the parts of the loss over the whole batch; the keys are the names in the log."""
    means = _summed(torch.stack(list(parts.values())), worker) / worker.world_size
    return {f"loss/{name}": value for name, value in zip(parts, means.tolist(), strict=True)}


def _summed(values: Tensor, worker: Worker) -> Tensor:
    """Sum `values` over the workers."""
    total = values.to(worker.device)
    if worker.world_size > 1:
        distributed.all_reduce(total)
    return total


def _make_reproducible(seed: int, device: torch.device) -> None:
    torch.manual_seed(seed)
    # gsplat's backward pass adds atomically, so a CUDA run is reproducible up to rounding; a CPU run, to the bit.
    torch.use_deterministic_algorithms(device.type == "cpu")
