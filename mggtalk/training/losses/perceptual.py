"""Computes the perceptual term of the loss: the distance between images in the features of an image classifier.

The network is a ResNet of transformers with its published weights, frozen. It is not part of the trained modules, so no
checkpoint, optimizer or EMA contains it; the hash of its weights is part of the run's key.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mggtalk.errors import WeightsError
from mggtalk.models.batches import TargetBatch
from mggtalk.models.predictor import DrivenImages
from mggtalk.perception.network_images import read_normalization
from mggtalk.perception.networks import check_library, check_model_type, load_network
from mggtalk.training.config import LossWeights
from mggtalk.weights.table import ResolvedModel, resolve

Image = Float[Tensor, "batch 3 height width"]
Mask = Float[Tensor, "batch 1 height width"]

_MODEL_TYPE = "resnet"


class PerceptualDistance:
    """Compares images by the feature maps of a network's stem and stages.

    Features are scaled to unit length at every position; squared differences are summed over channels, averaged over
    positions, and summed over the maps.

    Source: Johnson et al., Perceptual losses, ECCV 2016; the scaling as in Zhang et al., LPIPS, CVPR 2018, eq. 1, with
    all channel weights 1. Ours: a ResNet, and positions weighted by their valid fraction.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        """Load the network; see `load_network`.

        Raises:
            WeightsError: the folder holds no such network, or its library is not installed.
        """
        # Single precision, because the differences to learn from are small beside the features.
        network = load_network("ResNetModel", _MODEL_TYPE, folder, str(device), torch.float32)
        self._network: Any = network.requires_grad_(requires_grad=False)
        mean, deviation = read_normalization(folder / "preprocessor_config.json")
        self._mean, self._deviation = (
            torch.tensor(values, device=device).view(3, 1, 1) for values in (mean, deviation)
        )

    def __call__(self, images: DrivenImages, target: TargetBatch) -> Tensor:
        """Sum the distances of the images that the other terms compare: final image, head and coarse head."""
        renders = [image for image in (images.head, images.coarse) if image is not None]
        total = self.distance(renders, target.image * target.head_mask, target.valid)
        if images.image is not None:
            total = total + self.distance([images.image], target.image, target.valid)
        return total

    def distance(self, images: Sequence[Image], expected: Image, valid: Mask) -> Tensor:
        """Sum the distances of several batches of images from the same expected images; values in [0, 1].

        Each distance is a mean over the valid pixels of an image, then over the batch, as in `photometric`.
        """
        with torch.no_grad():
            expected_maps = self._features(expected * valid)
        maps = self._features(torch.cat([image * valid for image in images]))
        total = valid.new_zeros(())
        for ours, theirs in zip(maps, expected_maps, strict=True):
            weight = functional.interpolate(valid, theirs.shape[-2:], mode="area")
            weight = weight / weight.mean(dim=(1, 2, 3), keepdim=True).clamp(min=1e-6)
            difference = (ours - theirs.repeat(len(images), 1, 1, 1)).square().sum(dim=1, keepdim=True)
            total = total + (difference * weight.repeat(len(images), 1, 1, 1)).mean() * len(images)
        return total

    def _features(self, images: Image) -> list[Float[Tensor, "batch channels rows columns"]]:
        normalized = (images - self._mean) / self._deviation
        maps = self._network(normalized, output_hidden_states=True).hidden_states
        return [functional.normalize(features, dim=1, eps=1e-6) for features in maps]


def find_network(weights: LossWeights) -> ResolvedModel | None:
    """Find and verify the network of the perceptual term; None if the term is off. Never downloads.

    Raises:
        WeightsError: it is missing, damaged or of another kind, or its library is not installed; the message names
            the command to run.
    """
    if not weights.perceptual:
        return None
    try:
        check_library("the perceptual term")
        model = resolve(weights.perceptual_network)
        check_model_type(model.path, _MODEL_TYPE)
    except WeightsError as fault:
        raise WeightsError(f"train.loss.perceptual_network: {fault}") from fault
    return model


def make_perceptual(weights: LossWeights, device: torch.device) -> PerceptualDistance | None:
    """Load the perceptual term; None if it is off.

    Raises:
        WeightsError: as `find_network`, or the files do not hold the weights.
    """
    model = find_network(weights)
    return PerceptualDistance(model.path, device) if model else None
