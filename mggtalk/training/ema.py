"""A running average of a network's weights, which does better on unseen people than the weights of any one step."""

import copy
from typing import Generic, TypeVar

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class EMA(Generic[ModuleT]):
    """Exponential moving average of weights, with a short memory at first: after n steps at most (1 + n) / (10 + n).

    torch's `AveragedModel` counts its steps on the device, and would wait for it at every one.

    Source: Polyak averaging; the beginning as in TensorFlow's `ExponentialMovingAverage`.
    """

    def __init__(self, module: ModuleT, decay: float) -> None:
        self.module = copy.deepcopy(module).requires_grad_(requires_grad=False)
        self._decay = decay

    @torch.no_grad()
    def update(self, module: ModuleT, step: int) -> None:
        """Take up the weights after step number `step`, counted from 0."""
        decay = min(self._decay, (1 + step) / (10 + step))
        average = get_ema_multi_avg_fn(decay)
        average(list(self.module.parameters()), list(module.parameters()), step)
