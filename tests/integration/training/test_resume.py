import dataclasses

import pytest
import torch

from mggtalk.training.config import AugmentConfig
from mggtalk.training.data.loader import PairLoader
from mggtalk.training.loop import make_loader
from tests.support.tiny_networks import save_feature_network
from tests.unit.training.small import ALONE, Reports, run, same_weights, small_training


def test_run_that_was_cut_off_goes_on_as_if_nothing_had_happened(shards, tmp_path):
    settings = small_training(steps=5, log_every=1, validate_every=2, validation_pairs=1, checkpoint_every=2)
    whole = Reports()
    uninterrupted = run(settings, shards, whole)
    with pytest.raises(InterruptedError):
        run(settings, shards, Reports(stop_at=3), tmp_path / "state.pt")
    torch.manual_seed(99)  # the state of the process is another
    rest = Reports()
    resumed = run(settings, shards, rest, tmp_path / "state.pt")
    assert sorted(rest.metrics) == [3, 4, 5]  # the checkpoint after step 2 was the last
    assert same_weights(resumed, uninterrupted)
    for step in (3, 4, 5):
        ours, theirs = dict(rest.metrics[step]), dict(whole.metrics[step])
        for speed in ("frames_per_s", "data_wait_fraction"):
            del ours[speed], theirs[speed]
        assert ours == theirs


def test_a_run_that_goes_on_reads_no_tracks_to_start_from(shards, tmp_path, monkeypatch):
    settings = small_training(steps=4, log_every=1)
    uninterrupted = run(settings, shards)
    with pytest.raises(InterruptedError):
        run(settings, shards, Reports(stop_at=3), tmp_path / "state.pt")
    monkeypatch.delattr(PairLoader, "load_tracks")
    assert same_weights(run(settings, shards, None, tmp_path / "state.pt"), uninterrupted)


def test_augmented_run_that_was_cut_off_goes_on_as_if_nothing_had_happened(shards, tmp_path):
    settings = small_training(
        steps=5,
        checkpoint_every=2,
        log_every=1,
        coarse_fraction=0.2,
        ema_decay=0.5,
        augment=AugmentConfig(color=0.2, mirror=False, roll_deg=5.0, zoom=0.1, shift=0.05),
    )
    uninterrupted = run(settings, shards)
    with pytest.raises(InterruptedError):
        run(settings, shards, Reports(stop_at=3), tmp_path / "state.pt")
    assert same_weights(run(settings, shards, None, tmp_path / "state.pt"), uninterrupted)
    assert not same_weights(run(dataclasses.replace(settings, augment=small_training().augment), shards), uninterrupted)


def test_run_goes_on_with_other_threads(shards, tmp_path):
    settings = small_training(steps=4, log_every=1, loader_workers=0)
    uninterrupted = run(settings, shards)
    with pytest.raises(InterruptedError):
        run(settings, shards, Reports(stop_at=3), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)["loader"]
    assert state == make_loader(settings, shards, ALONE).state_dict() | {"step": 2}
    resumed = run(dataclasses.replace(settings, loader_workers=4), shards, Reports(), tmp_path / "state.pt")
    assert same_weights(resumed, uninterrupted)


def test_finished_run_is_taken_from_its_checkpoint(shards, tmp_path):
    settings = small_training(steps=2, checkpoint_every=100)
    first = run(settings, shards, checkpoint=tmp_path / "deep" / "state.pt")
    again = Reports()
    assert same_weights(run(settings, shards, again, tmp_path / "deep" / "state.pt"), first)
    assert again.metrics == {}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["state.pt"]


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "other content"])
def test_damaged_checkpoint_is_not_taken_up(shards, tmp_path, damage, caplog):
    settings, path = small_training(steps=2, log_every=1), tmp_path / "state.pt"
    first = run(settings, shards, checkpoint=path)
    content = path.read_bytes()
    match damage:
        case "truncated":
            path.write_bytes(content[: len(content) // 2])
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("no checkpoint")
        case "other content":
            torch.save([1, 2], path)
    reports = Reports()
    assert same_weights(run(settings, shards, reports, path), first)
    assert sorted(reports.metrics) == [1, 2]
    assert f"{path} is damaged" in caplog.text
    again = Reports()
    run(settings, shards, again, path)
    assert again.metrics == {}


def test_checkpoint_of_another_run_is_not_taken_up(shards, tmp_path):
    settings = small_training(steps=2, log_every=1)
    run(small_training(steps=2, seed=5), shards, checkpoint=tmp_path / "state.pt", run_key="another")
    reports = Reports()
    predictor = run(settings, shards, reports, tmp_path / "state.pt")
    assert sorted(reports.metrics) == [1, 2]
    assert same_weights(predictor, run(settings, shards))


def test_a_run_with_the_perceptual_term_goes_on_as_if_nothing_had_happened_and_learns_something_else(shards, tmp_path):
    network = save_feature_network(tmp_path / "resnet")
    loss = dataclasses.replace(small_training().loss, perceptual=0.1, perceptual_network=str(network))
    settings = small_training(loss=loss, steps=2, log_every=1, checkpoint_every=1, coarse_fraction=0.5)
    reports = Reports()
    uninterrupted = run(settings, shards, reports)
    assert all(metrics["loss/perceptual"] > 0 for metrics in reports.metrics.values())
    with pytest.raises(InterruptedError):
        run(settings, shards, Reports(stop_at=2), tmp_path / "state.pt")
    torch.manual_seed(99)
    assert same_weights(run(settings, shards, None, tmp_path / "state.pt"), uninterrupted)
    assert not same_weights(run(dataclasses.replace(settings, loss=small_training().loss), shards), uninterrupted)
