import copy

import pytest
import torch
from torch import nn

from mggtalk.errors import StageError
from mggtalk.training.optimization import Optimization

CPU = torch.device("cpu")
NAN, INFINITE = float("nan"), float("inf")


def make(weight: float = 1.0) -> tuple[nn.Linear, Optimization]:
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, weight)
    return module, Optimization([[*module.parameters()]], CPU, rate=0.1, decay=0.0, gradient_clip=1.0)


def step(module: nn.Linear, optimize: Optimization, slope: float) -> float:
    """Take a step down a line, and return the weight."""
    parts = optimize({"total": (module.weight * slope).sum(), "other": torch.ones(())})
    assert list(parts) == ["total", "other"]
    assert not parts["total"].requires_grad
    return float(module.weight.detach())


@pytest.mark.parametrize("wrong", [NAN, INFINITE, -INFINITE])
def test_a_gradient_that_is_not_finite_changes_nothing(wrong):
    module, optimize = make()
    reference, expected = make()
    step(module, optimize, 1.0)
    before = float(module.weight.detach())
    assert step(module, optimize, wrong) == before
    step(reference, expected, 1.0)
    assert step(module, optimize, 2.0) == step(reference, expected, 2.0)
    assert optimize.take_skipped() == 1
    assert optimize.take_skipped() == 0


def test_finite_gradients_are_adamw_with_clipping():
    module, optimize = make()
    ours = [step(module, optimize, slope) for slope in (0.5, 30.0, -4.0)]
    weight = nn.Parameter(torch.ones(1, 1))
    plain = torch.optim.AdamW([weight], lr=0.1, weight_decay=0.0)
    theirs = []
    for slope in (0.5, 1.0, -1.0):
        weight.grad = torch.full((1, 1), slope)
        plain.step()
        theirs.append(float(weight.detach()))
    assert ours == pytest.approx(theirs, rel=1e-5)
    assert optimize.take_skipped() == 0


def test_a_run_that_is_lost_ends_in_an_error():
    module, optimize = make()
    for _ in range(19):
        step(module, optimize, NAN)
    assert optimize.take_skipped() == 19
    step(module, optimize, 1.0)
    for _ in range(20):
        step(module, optimize, NAN)
    with pytest.raises(
        StageError, match=r"the gradient of the last 20 steps is not finite; a lower train\.learning_rate may"
    ):
        optimize.take_skipped()


def test_state_goes_on_where_it_was():
    module, optimize = make()
    for slope in (1.0, NAN, 0.3):
        step(module, optimize, slope)
    reference, other = make(float(module.weight.detach()))
    other.load_state_dict(copy.deepcopy(optimize.state_dict()))
    assert step(reference, other, 0.7) == step(module, optimize, 0.7)
    assert other.take_skipped() == optimize.take_skipped() == 1


def test_many_single_bad_steps_do_no_harm():
    module, optimize = make()
    for _ in range(200):
        step(module, optimize, NAN)
        step(module, optimize, 0.1)
    assert module.weight.isfinite().all()
    assert optimize.take_skipped() == 200
