"""Weights for face-alignment's networks at full size that find spots of light, in the files that the library expects.

The branches of every block are random but shut off by their normalisation; what remains passes brightness through. So
the first half of the points goes to the brightest red spot of a face's crop, the second half to the brightest green
one, and the depth of a point is its number.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from face_alignment.models import FAN, ResNetDepth
from face_alignment.models.fan import ConvBlock

from mggtalk.perception.landmarks.face_alignment_landmarker import weight_files

NUM_POINTS = 68


def write_spot_weights(hub: Path) -> None:
    """Put both files into the folder `checkpoints` of a torch.hub folder."""
    folder = hub / "checkpoints"
    folder.mkdir(parents=True)
    alignment, depth = weight_files()
    torch.manual_seed(0)
    with torch.no_grad():
        torch.save(_spot_finder().state_dict(), folder / alignment)
        state = {f"module.{name}": value for name, value in _numbering().state_dict().items()}
    # As a training checkpoint: trained in parallel, with a score that is a NumPy number.
    torch.save({"state_dict": state, "epoch": 3, "best_acc": np.float64(0.5)}, folder / depth)


def _spot_finder() -> Any:
    network: Any = FAN(4)
    for block in network.modules():
        if isinstance(block, ConvBlock):
            for norm in (block.bn1, block.bn2, block.bn3):
                norm.weight.zero_()
            if block.downsample is not None:
                _pass(block.downsample[2])
    _pass(network.conv1)
    for stack in range(4):
        _pass(network.get_submodule(f"conv_last{stack}"))
        heatmaps = network.get_submodule(f"l{stack}")
        _pass(heatmaps)
        heatmaps.weight[: NUM_POINTS // 2, 0] = 1
        heatmaps.weight[NUM_POINTS // 2 :, 1] = 1
        heatmaps.weight[1, 1] = heatmaps.weight[NUM_POINTS // 2 :, 0] = 0
        if stack < 3:
            for name in (f"bl{stack}", f"al{stack}"):
                for parameter in network.get_submodule(name).parameters():
                    parameter.zero_()
    return network


def _pass(layer: Any) -> None:
    """Let red and green through, from the middle of the kernel, and nothing else."""
    weight, middle = layer.weight, layer.weight.shape[-1] // 2
    weight.zero_()
    weight[0, 0, middle, middle] = weight[1, 1, middle, middle] = 1
    if layer.bias is not None:
        layer.bias.zero_()


def _numbering() -> Any:
    network = ResNetDepth()
    network.fc.weight.zero_()
    network.fc.bias.copy_(torch.arange(NUM_POINTS))
    return network
