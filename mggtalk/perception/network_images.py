"""Preprocesses images as transformers' processors do, in plain torch, because theirs need torchvision.

Networks were trained on images resized by Pillow; torch's antialiased kernels are the same.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from mggtalk.errors import WeightsError

_RESAMPLING = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers
_WANTED = ("do_resize", "do_normalize")
_REFUSED = ("do_center_crop", "do_pad", "do_flip_channel_order")


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Preprocessing of a network's input images.

    Attributes:
        height, width: size to resize to. keep_aspect_ratio: scale both sides alike, to approximate that size.
        multiple: both sides become multiples of it. mode: of `interpolate`.
        scale: factor of a byte, before `mean` is subtracted and `deviation` divides.
    """

    height: int
    width: int
    keep_aspect_ratio: bool
    multiple: int
    mode: str
    scale: float
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read `preprocessor_config.json`.

        Raises:
            WeightsError: it is missing or damaged, or asks for an unsupported step.
        """
        content = read_json(path)
        if wanted := [step for step in _REFUSED if content.get(step)]:
            raise WeightsError(f"{path}: {', '.join(wanted)} is not supported")
        if undone := [step for step in _WANTED if not content.get(step, True)]:
            raise WeightsError(f"{path}: {', '.join(undone)}: expected true, anything else is not supported")
        try:
            height, width = _size(content["size"])
            mean, deviation = _normalization(content)
            return cls(
                height=height,
                width=width,
                keep_aspect_ratio=bool(content.get("keep_aspect_ratio", False)),
                multiple=int(content.get("ensure_multiple_of") or 1),
                mode=_RESAMPLING[content["resample"]],
                scale=float(content.get("rescale_factor", 1 / 255)) if content.get("do_rescale", True) else 1.0,
                mean=mean,
                deviation=deviation,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(f"{path}: cannot be used: {type(error).__name__} {error}") from error

    def __call__(self, images: UInt8[Tensor, "batch height width 3"]) -> Float[Tensor, "batch 3 new_height new_width"]:
        """Return images (RGB) as the network's input."""
        resized = functional.interpolate(
            images.permute(0, 3, 1, 2).float(),
            self._new_size(images.shape[1], images.shape[2]),
            mode=self.mode,
            antialias=True,
            align_corners=False,
        )
        mean, deviation = (
            torch.tensor(values, device=images.device).view(3, 1, 1) for values in (self.mean, self.deviation)
        )
        return (resized.clamp(0, 255) * self.scale - mean) / deviation

    def _new_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the size to resize to.

        Source: `get_resize_output_image_size` of DPT's processor in transformers.
        """
        scales = self.height / height, self.width / width
        if self.keep_aspect_ratio:
            scales = (min(scales[::-1], key=lambda scale: abs(1 - scale)),) * 2
        rounded = [round(scale * side / self.multiple) for scale, side in zip(scales, (height, width), strict=True)]
        return rounded[0] * self.multiple, rounded[1] * self.multiple


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file.

    Raises:
        WeightsError: the file is missing, or holds no object.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: holds {type(content).__name__}, expected an object")
    return content


def read_normalization(path: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation of images in [0, 1] from `preprocessor_config.json`, and ignore its other settings.

    Raises:
        WeightsError: the file is missing or damaged.
    """
    content = read_json(path)
    try:
        return _normalization(content)
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be used: {type(error).__name__} {error}") from error


def _normalization(content: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return _channels(content["image_mean"]), _positive(_channels(content["image_std"]))


def _size(size: Any) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else (int(size["height"]), int(size["width"]))
    if min(height, width) < 1:
        raise ValueError(f"size: expected at least 1, got {height} x {width}")
    return height, width


def _positive(values: tuple[float, ...]) -> tuple[float, ...]:
    if min(values) <= 0:
        raise ValueError(f"image_std: expected positive numbers, got {values}")
    return values


def _channels(values: list[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return float(red), float(green), float(blue)
