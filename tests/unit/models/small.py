"""A predictor small enough for tests, and batches of synthetic heads."""

from collections.abc import Sequence

import torch

from mggtalk.models.batches import (
    DriverBatch,
    SourceBatch,
    TargetBatch,
    collate_drivers,
    collate_sources,
    collate_targets,
)
from mggtalk.models.config import ModelConfig
from mggtalk.models.predictor import TalkingHeadPredictor
from tests.support.synthetic_head import EXPRESSION_NAMES, head_frame, make_head, source_frame

View = tuple[int, float, tuple[float, float]]
"""Person, yaw in degrees, expression."""


def small_model(resolution: int = 32, point_stride: int = 2, **switches: bool) -> ModelConfig:
    """Return the size of a predictor that runs in milliseconds; `switches` are those of the ablations."""
    return ModelConfig(
        resolution=resolution,
        point_stride=point_stride,
        voxel_size_cm=2.4 * 32 / resolution,
        expression_size=len(EXPRESSION_NAMES),
        landmark_set="mediapipe_478",
        unet_channels=4,
        unet_levels=3,
        feature_channels=8,
        hidden_channels=16,
        max_depth_offset_cm=2.0,
        max_displacement_cm=6.0,
        rendered_features=2,
        **switches,
    )


def small_predictor(resolution: int = 32, seed: int = 0, **switches: bool) -> TalkingHeadPredictor:
    """Return an untrained predictor, a function of the seed."""
    torch.manual_seed(seed)
    return TalkingHeadPredictor(small_model(resolution, **switches))


def perturb(module: torch.nn.Module, seed: int = 0, scale: float = 0.1) -> None:
    """Move every weight at random, so that no branch is silent as it is at the start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))


def source_batch(views: Sequence[View], size: int = 32) -> SourceBatch:
    """Return these views of synthetic heads as sources."""
    return collate_sources([source_frame(make_head(person), size, yaw, face) for person, yaw, face in views])


def driver_and_target(views: Sequence[View], size: int = 32) -> tuple[DriverBatch, TargetBatch]:
    """Return what drives the heads into these views, and the views as ground truth."""
    frames = [head_frame(make_head(person), size, yaw, face) for person, yaw, face in views]
    return collate_drivers(frames), collate_targets(frames)
