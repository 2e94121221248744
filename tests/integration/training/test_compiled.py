"""Networks that were compiled compute what they did."""

import copy
import dataclasses
from typing import Any

import pytest
import torch

from mggtalk.models.predictor import TalkingHeadPredictor
from mggtalk.training.loop import make_loader
from mggtalk.training.losses.training_loss import TrainingStep
from tests.unit.models.small import perturb, small_model
from tests.unit.training.small import ALONE, small_training


def evaluated(step: TrainingStep, *batch: Any) -> dict[str, float]:
    with torch.no_grad():
        return {name: float(value) for name, value in step(*batch).items()}


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # Dynamo's, of its own looking
def test_compiled_parts_compute_what_they_did(shards):
    """Traces with Dynamo but generates no code, which would take a minute and a compiler."""
    settings = small_training(batch_size=4, track_pairs=4)
    batch = make_loader(settings, shards, ALONE).load(0).batch.unpack(ALONE.device)
    torch.manual_seed(0)
    # Two channels to a norm's group, as in earnest: alone in its group, a channel's bias would be normalised away.
    model = dataclasses.replace(small_model(), unet_channels=8)
    step = TrainingStep(TalkingHeadPredictor(model), settings.loss)
    perturb(step.predictor, scale=0.05)
    weights = [*step.parameters()]
    plain, gradients = evaluated(step, *batch), torch.autograd.grad(step(*batch)["total"], weights)
    step.compile_networks(backend="eager")
    for coarse in (True, False):  # as in a training
        step.predictor.set_trained(coarse=coarse)
        step(*batch, coarse=coarse)["total"].backward()
    assert evaluated(step, *batch) == pytest.approx(plain, rel=1e-5)
    for gradient, expected in zip(torch.autograd.grad(step(*batch)["total"], weights), gradients, strict=True):
        torch.testing.assert_close(gradient, expected, atol=1e-6, rtol=1e-3)
    # The running average of the weights is a copy, and is validated: it must not run what was made for the original.
    assert copy.deepcopy(step.predictor).inpainting.unet._compiled_call_impl is None
