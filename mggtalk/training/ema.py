"""Averages a network's weights over the steps, which does better on unseen people than the weights of one step."""

import copy
from typing import Generic, TypeVar

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class EMA(Generic[ModuleT]):
    """Exponential moving average of weights, whose decay after n steps is at most (1 + n) / (10 + n).

    torch's `AveragedModel` counts its steps on the device, and would wait for the device at every step.

    Source: Polyak averaging; the warm-up of the decay as in TensorFlow's `ExponentialMovingAverage`.
    """

    def __init__(self, module: ModuleT, decay: float) -> None:
        self.module = copy.deepcopy(module).requires_grad_(requires_grad=False)
        self._decay = decay

    @torch.no_grad()
    def update(self, module: ModuleT, step: int) -> None:
        """Average in the weights after step number `step`, counted from 0."""
        decay = min(self._decay, (1 + step) / (10 + step))
        update = get_ema_multi_avg_fn(decay)
        update(list(self.module.parameters()), list(module.parameters()), step)
