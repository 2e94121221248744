"""Depth backend `depth_anything`: Depth Anything V2 by transformers, aligned to the landmarks; normals derived.

The relative models give inverse depth up to scale and shift, the metric ones depth in metres. Both are fitted to each
frame's landmarks, because their scale is made for scenes, not for faces.

Source: Yang et al., Depth Anything V2, NeurIPS 2024.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor, nn
from torch.nn import functional

from mggtalk.geometry.head.landmark_sets import LandmarkSet
from mggtalk.perception.depth.head_geometry import DepthAndNormals, HeadViews
from mggtalk.perception.depth.network_depth import aligned_depth
from mggtalk.perception.network_images import Preprocessing
from mggtalk.perception.networks import default_device, in_batches, load_network


class DepthAnythingGeometry:
    """See `HeadGeometry`.

    Args:
        folder: of the verified model: `config.json`, `model.safetensors`, `preprocessor_config.json`.
        device: `cpu` or `cuda`; default: `cuda` where there is one.

    Raises:
        WeightsError: transformers is not installed, or the folder holds no such network.
    """

    name = "depth_anything"

    def __init__(self, folder: Path, landmarks: LandmarkSet, device: str | None = None) -> None:
        self._device = device or default_device()
        self._prepare = Preprocessing.read(folder / "preprocessor_config.json")
        self._network = load_network("DepthAnythingForDepthEstimation", "depth_anything", folder, self._device)
        _keep_fine_steps(self._network.head)
        self._inverse = self._network.config.depth_estimation_type == "relative"
        self._landmarks = landmarks

    def __call__(self, views: HeadViews) -> DepthAndNormals:
        """Return depth and normals of every view."""
        return aligned_depth(self.predict(views.images), inverse=self._inverse, views=views, landmarks=self._landmarks)

    def predict(self, images: UInt8[np.ndarray, "num_images size size 3"]) -> Float32[Tensor, "num_images size size"]:
        """Return the network's prediction for images (RGB), in its own unit and at the size of the images."""
        size = images.shape[1:3]
        return torch.cat(
            [
                functional.interpolate(depth[:, None], size, mode="bicubic", antialias=True)[:, 0].cpu()
                for depth in in_batches(self._forward, self._prepare, images, self._device)
            ]
        )

    def _forward(self, pixels: Tensor) -> Tensor:
        depth: Tensor = self._network(pixels).predicted_depth
        return depth


def _keep_fine_steps(head: nn.Module) -> None:
    """Make the last layers work in float32, because a step of float16 is a millimetre of depth, which normals show."""
    head.float()

    def in_float(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        states, *sizes = arguments
        return [state.float() for state in states], *sizes

    head.register_forward_pre_hook(in_float)
