import dataclasses
from pathlib import Path

import pytest
import torch

from mggtalk.shards import OnCorruptSample
from tests.unit.models.small import small_model
from tests.unit.training.small import Reports, run, small_training, weights
from tests.unit.training.two_workers import TwoWorkerRun, load_weights, run_two_workers


def test_two_workers_learn_what_one_does(shards, tmp_path):
    # Several channels per norm group: a lone bias would have rounding errors as gradients, which Adam amplifies.
    model = dataclasses.replace(small_model(), unet_channels=8)
    settings = small_training(steps=3, log_every=1, model=model)
    # With SKIP, because the count of replaced pairs is summed over the workers.
    together = dataclasses.replace(settings, workers=2, loader_workers=2, on_corrupt_sample=OnCorruptSample.SKIP)
    fresh, resumed = (_folder(tmp_path / name) for name in ("fresh", "resumed"))
    reports = Reports()
    alone = weights(run(settings, shards, reports))
    with pytest.raises(InterruptedError):
        run(settings, shards, Reports(stop_at=3), resumed / "state.pt")
    runs = [
        TwoWorkerRun(together, shards.root, fresh),
        TwoWorkerRun(together, shards.root, resumed, (resumed / "state.pt", tmp_path / "elsewhere" / "state.pt")),
    ]
    run_two_workers(runs, tmp_path / "meeting_point")
    for results in (fresh, resumed):
        ours, theirs = load_weights(results, 0), load_weights(results, 1)
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        # Gradients are summed in another order and Adam amplifies the smallest, so all weights are compared at once.
        away, size = (
            torch.cat([part.flatten() for part in parts]).norm()
            for parts in ([ours[name] - value for name, value in alone.items()], alone.values())
        )
        assert away <= 1e-5 * size
    logged = torch.load(fresh / "metrics.0.pt", weights_only=True)
    assert list(logged) == [1, 2, 3]
    for step, metrics in logged.items():  # of the whole batch, not of worker 0's half
        losses = {name: value for name, value in metrics.items() if name.startswith("loss/")}
        assert losses == pytest.approx({name: reports.metrics[step][name] for name in losses}, rel=1e-4)
    assert list(torch.load(resumed / "metrics.0.pt", weights_only=True)) == [3]
    assert list(torch.load(resumed / "metrics.1.pt", weights_only=True)) == []


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
