"""Two data-parallel workers in processes of their own learn what one does, and what they would if none was killed."""

import dataclasses
import os
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from mggtalk.runtime.train_runner import run_training
from mggtalk.shards import OnCorruptSample
from mggtalk.training.images import Reported
from tests.integration.runtime.toy_training import KILLABLE, KILLED_AT, KillableRun, train_killable
from tests.support.tiny_networks import save_feature_network
from tests.support.two_workers import TwoWorkerRun, load_weights, run_two_workers
from tests.unit.models.small import small_model
from tests.unit.training.small import Reports, run, small_training, weights


@dataclasses.dataclass(frozen=True)
class Trained:
    """What one worker learned in this process, and the folders of what two did in theirs."""

    alone: dict[str, torch.Tensor]
    reports: Reports
    fresh: Path
    resumed: Path
    perceptual: Path
    killable: Path


@pytest.fixture(scope="module")
def trained(shards, tmp_path_factory) -> Trained:
    """Every run on the same two processes, because each start loads torch twice."""
    root: Path = tmp_path_factory.mktemp("two_workers")
    fresh, resumed, perceptual, killable = (
        _folder(root / name) for name in ("fresh", "resumed", "perceptual", "killable")
    )
    # Several channels per norm group: a lone bias would have rounding errors as gradients, which Adam amplifies.
    model = dataclasses.replace(small_model(), unet_channels=8)
    settings = small_training(steps=3, log_every=1, model=model)
    # With SKIP, because the count of replaced pairs is summed over the workers.
    together = dataclasses.replace(settings, workers=2, loader_workers=2, on_corrupt_sample=OnCorruptSample.SKIP)
    reports = Reports()
    alone = weights(run(settings, shards, reports))
    with pytest.raises(InterruptedError):
        run(settings, shards, Reports(stop_at=3), resumed / "state.pt")
    network = save_feature_network(root / "resnet")
    loss = dataclasses.replace(small_training().loss, perceptual=0.1, perceptual_network=str(network))
    runs = [
        TwoWorkerRun(together, shards.root, fresh),
        TwoWorkerRun(together, shards.root, resumed, (resumed / "state.pt", root / "elsewhere" / "state.pt")),
        TwoWorkerRun(small_training(steps=2, workers=2, loss=loss), shards.root, perceptual),
        TwoWorkerRun(KILLABLE, shards.root, killable),
    ]
    run_two_workers(runs, root / "meeting_point")
    return Trained(alone, reports, fresh, resumed, perceptual, killable)


@pytest.mark.parametrize("kind", ["fresh", "resumed"])
def test_two_workers_learn_what_one_does(trained, kind):
    results = getattr(trained, kind)
    ours, theirs = load_weights(results, 0), load_weights(results, 1)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    # Gradients are summed in another order and Adam amplifies the smallest, so all weights are compared at once.
    away, size = (
        torch.cat([part.flatten() for part in parts]).norm()
        for parts in ([ours[name] - value for name, value in trained.alone.items()], trained.alone.values())
    )
    assert away <= 1e-5 * size


def test_worker_0_alone_reports_and_of_the_whole_batch(trained):
    logged = torch.load(trained.fresh / "metrics.0.pt", weights_only=True)
    assert list(logged) == [1, 2, 3]
    for step, metrics in logged.items():  # of the whole batch, not of worker 0's half
        losses = {name: value for name, value in metrics.items() if name.startswith("loss/")}
        assert losses == pytest.approx({name: trained.reports.metrics[step][name] for name in losses}, rel=1e-4)
    assert list(torch.load(trained.resumed / "metrics.0.pt", weights_only=True)) == [3]
    assert list(torch.load(trained.resumed / "metrics.1.pt", weights_only=True)) == []


def test_two_workers_with_the_perceptual_term_agree(trained):
    ours, theirs = load_weights(trained.perceptual, 0), load_weights(trained.perceptual, 1)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.usefixtures("local_ray")
def test_a_killed_worker_costs_steps_but_changes_nothing_and_what_the_listener_raises_is_raised_here(
    trained, shards, tmp_path
):
    """One run for both, because every start of Ray Train loads torch eight times."""
    folder, reports = _folder(tmp_path / "killed"), []

    def on_report(step: int, metrics: Mapping[str, Reported]) -> None:
        reports.append(step)
        if step == KILLED_AT:
            os.kill(int((folder / "pid.1").read_text()), signal.SIGKILL)
            (folder / "go").touch()
        if step == KILLABLE.steps:
            raise OSError(f"no space left at step {step}")

    with pytest.raises(OSError, match="no space left at step 6"):
        run_training(
            train_killable,
            KillableRun(shards.root, folder),
            num_workers=2,
            use_gpu=False,
            storage=tmp_path / "ray",
            on_report=on_report,
        )
    assert reports == [1, 2, 3, 4, 5, 6]
    begun_at = (folder / "first_steps").read_text().split()
    assert begun_at == ["1", "3"]  # from the checkpoint after step 2, so step 3 was done twice
    for rank in range(2):
        expected, found = load_weights(trained.killable, rank), load_weights(folder, rank)
        assert all(torch.equal(expected[name], found[name]) for name in expected)


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
