import dataclasses
import itertools
import math
from pathlib import Path

import pytest
import torch

from mggtalk.errors import ShardError, StageError
from mggtalk.geometry.head.landmark_sets import mediapipe_478
from mggtalk.records import Split
from mggtalk.shards import OnCorruptSample, Shards, read_index
from mggtalk.shards.index import iterate_rows
from mggtalk.shards.schema import rgb_member
from mggtalk.training import loop
from mggtalk.training.images import scalar_metrics
from mggtalk.training.init_blendshapes import fit_blendshapes
from mggtalk.training.loop import learning_rate_factor, make_loader
from mggtalk.training.losses.training_loss import TrainingStep
from mggtalk.training.validation import validate_pairs
from tests.support.synthetic_head import make_talking_clip, write_talking_shards
from tests.unit.models.small import small_model, small_predictor
from tests.unit.training.small import ALONE, Reports, run, same_weights, small_training, weights

CPU = torch.device("cpu")


def test_training_overfits_one_source(tmp_path):
    """Train on a clip of two frames that differ in pose, mouth and eye, and validate on the same clip."""
    clips = [
        make_talking_clip(f"{split.value[0].encode().hex():0>16}-f000000", num_frames=2, split=split)
        for split in (Split.TRAIN, Split.VAL)
    ]
    shards = write_talking_shards(tmp_path, clips)
    settings = small_training(
        steps=110, learning_rate=2e-2, log_every=200, validate_every=200, validation_pairs=6, checkpoint_every=200
    )
    reports = Reports()
    run(settings, shards, reports)
    before = scalar_metrics(validate_pairs(small_predictor(), shards, settings, CPU))["val/psnr_head"]
    assert before < 22.5
    assert reports.metrics[110]["val/psnr_head"] > 30  # measured: 21.6 -> 33.2 dB


def test_the_deformation_starts_with_blendshapes_of_the_tracks(shards):
    settings = small_training(steps=1, learning_rate=1e-12)
    kept = weights(run(settings, shards))["deformation.blendshapes"]
    tracks = make_loader(settings, shards, ALONE).load_tracks(2048)
    torch.testing.assert_close(kept, fit_blendshapes(tracks))
    assert kept.abs().max() > 0.1


def test_a_step_that_is_not_finite_is_left_out_and_counted(shards, monkeypatch):
    """Make the loss NaN once, as happened in one GPU training of twelve."""
    settings, reports, calls = small_training(steps=4, log_every=2), Reports(), itertools.count()
    distance = TrainingStep.landmark_distance

    def once_wrong(step, tracks):
        return distance(step, tracks) * (float("nan") if next(calls) == 1 else 1.0)

    monkeypatch.setattr(TrainingStep, "landmark_distance", once_wrong)
    trained = weights(run(settings, shards, reports))
    assert all(values.isfinite().all() for values in trained.values())
    assert [reports.metrics[step]["skipped_steps"] for step in (2, 4)] == [1, 0]


def test_blendshapes_of_mirrored_runs_are_symmetric_and_those_of_spoilt_tracks_an_error(shards, monkeypatch):
    augment = dataclasses.replace(small_training().augment, mirror=True)
    settings = small_training(steps=1, learning_rate=1e-12, augment=augment)
    monkeypatch.setattr(
        loop, "mirrored_expression_indices", lambda _names: torch.arange(2)
    )  # the shards' have no sides
    kept = weights(run(settings, shards))["deformation.blendshapes"]
    mirror = torch.from_numpy(mediapipe_478().mirror)
    torch.testing.assert_close(kept[mirror] * torch.tensor([-1.0, 1.0, 1.0])[:, None], kept, atol=1e-4, rtol=0)
    monkeypatch.setattr(loop, "fit_blendshapes", lambda *_tracks: torch.full((478, 3, 2), float("nan")))
    with pytest.raises(StageError, match="the tracks of the training split hold values that are no numbers"):
        run(settings, shards)


def test_coarse_steps_leave_densification_and_inpainting_as_they_were(shards):
    kept = ("densification", "inpainting")
    untrained = weights(run(small_training(steps=1, learning_rate=1e-12), shards))
    coarse = weights(run(small_training(steps=3, coarse_fraction=1.0, weight_decay=0.0), shards))
    whole = weights(run(small_training(steps=3, coarse_fraction=0.6, weight_decay=0.0), shards))
    moved = {
        name: [(trained[name] - start).abs().max() > 1e-6 for trained in (coarse, whole)]
        for name, start in untrained.items()
    }
    assert not any(first for name, (first, _) in moved.items() if name.startswith(kept))
    for part in (*kept, "deformation", "visible_decoder", "symmetric_decoder", "geometry_refinement"):
        assert any(second for name, (_, second) in moved.items() if name.startswith(part)), part


def test_landmarks_are_measured_while_they_teach_and_where_the_log_shows_them(shards, monkeypatch):
    calls, reports, distance = itertools.count(), Reports(), TrainingStep.landmark_distance

    def counted(step, tracks):
        next(calls)
        return distance(step, tracks)

    monkeypatch.setattr(TrainingStep, "landmark_distance", counted)
    run(small_training(steps=8, geometry_fraction=0.25, log_every=3), shards, reports)
    assert next(calls) == 2 + 3
    assert [step for step, metrics in reports.metrics.items() if "loss/landmarks" in metrics] == [3, 6, 8]


def test_geometry_stays_as_it_is_after_its_fraction_of_the_steps(shards, tmp_path):
    """It also takes another course before, because its learning rate falls within that fraction."""
    settings = small_training(steps=6, geometry_fraction=0.5, checkpoint_every=3, log_every=1)
    with pytest.raises(InterruptedError):
        run(settings, shards, Reports(stop_at=4), tmp_path / "state.pt")
    halfway = torch.load(tmp_path / "state.pt", weights_only=True)
    assert halfway["step"] == 3
    end = weights(run(settings, shards))
    resumed = weights(run(settings, shards, None, tmp_path / "state.pt"))
    assert all(torch.equal(end[name], resumed[name]) for name in end)
    apart = weights(run(small_training(steps=6), shards))
    for name, value in end.items():
        is_kept = torch.equal(value, halfway["module"][f"predictor.{name}"])
        assert is_kept == name.startswith(("geometry_refinement", "deformation")), name
        assert not torch.equal(value, apart[name]), name


def test_average_of_the_weights_is_what_is_kept(shards):
    last = weights(run(small_training(steps=6), shards))
    first = weights(run(small_training(steps=6, learning_rate=1e-12), shards))
    kept = weights(run(small_training(steps=6, ema_decay=0.9), shards))
    name = "deformation.landmark_embeddings"
    assert (kept[name] - first[name]).norm() < 0.97 * (last[name] - first[name]).norm()
    assert not torch.equal(kept[name], first[name])


def test_damaged_frames_stop_the_run_or_are_replaced_and_counted(tmp_path):
    """Break the second of two frames: it is never drawn as a source, so every other pair needs it."""
    clip = make_talking_clip("00000000000000aa-f000000", num_frames=2)
    root = Path(write_talking_shards(tmp_path, [clip]).root)
    (row,) = iterate_rows(read_index(root))
    path, offset = root / row.shard, row.member_offsets[row.member_names.index(rgb_member(1))]
    path.write_bytes(path.read_bytes()[:offset] + b"broken" + path.read_bytes()[offset + 6 :])
    with pytest.raises(ShardError, match=r"member 001\.rgb\.jpg: damaged"):
        run(small_training(steps=2), Shards(root))
    reports = Reports()
    run(small_training(steps=4, log_every=2, on_corrupt_sample=OnCorruptSample.SKIP), Shards(root), reports)
    assert [reports.metrics[step]["replaced_pairs"] for step in (2, 4)] == [2, 2]


def test_weights_are_a_function_of_the_seed(shards):
    settings = small_training(steps=2)
    first = run(settings, shards)
    torch.manual_seed(99)
    assert same_weights(first, run(settings, shards))
    other = weights(run(dataclasses.replace(settings, seed=1), shards))
    same = [name for name, value in weights(first).items() if torch.equal(value, other[name])]
    assert len(same) < 0.05 * len(other)  # a lone bias may take equal steps


def test_learning_rate_rises_to_its_full_value_and_falls_to_a_hundredth():
    factors = [learning_rate_factor(step, warmup=10, steps=110) for step in range(111)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == factors[10] == 1
    assert factors[60] == pytest.approx(0.01 + 0.99 / 2)
    assert factors[85] == pytest.approx(0.01 + 0.99 * 0.5 * (1 + math.cos(0.75 * math.pi)))
    assert factors[110] == pytest.approx(0.01)
    assert all(left >= right for left, right in itertools.pairwise(factors[10:]))
    assert learning_rate_factor(0, warmup=0, steps=1) == 1


def test_learning_rate_is_taken_by_the_run(shards):
    reports = Reports()
    run(small_training(steps=4, warmup_steps=2, log_every=1), shards, reports)
    for step in (1, 2, 3, 4):
        expected = 2e-3 * learning_rate_factor(step, 2, 4)  # of the step to come
        assert reports.metrics[step]["learning_rate"] == pytest.approx(expected)


def test_metrics_come_when_they_are_due_and_at_the_end(shards):
    reports = Reports()
    run(small_training(steps=5, log_every=2, validate_every=3, validation_pairs=2), shards, reports)
    validation = {"val/psnr_head", "val/psnr"}
    for step, metrics in reports.metrics.items():
        assert ("loss/total" in metrics) == (step in {2, 4, 5}), step
        assert (set(metrics) >= validation) == (step in {3, 5}), step
        assert ("val/pairs" in reports.images[step]) == (step in {3, 5}), step
    assert sorted(reports.metrics) == [2, 3, 4, 5]
    last = reports.metrics[5]
    assert last["frames_per_s"] > 0
    parts = ("total", "final", "head", "coarse", "eyes_and_mouth", "alpha", "landmarks")
    offsets = ("depth_offset", "depth_offset_face")
    assert {name for name in last if name.startswith("loss/")} == {f"loss/{part}" for part in (*parts, *offsets)}
    assert 10 < last["val/psnr_head"] < 40


def test_no_training_clips_are_an_error(tmp_path):
    clip = make_talking_clip("00000000000000aa-f000000", num_frames=2, split=Split.VAL)
    with pytest.raises(StageError, match="no clips to draw pairs from"):
        run(small_training(), write_talking_shards(tmp_path, [clip]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"expression_size": 52}, r"train\.model\.expression_size: got 52, the shards have 2"),
        ({"resolution": 128}, r"train\.model\.resolution: got 128, at most the shards' 64"),
    ],
)
def test_model_that_does_not_fit_the_shards_is_refused(shards, changes, message):
    model = dataclasses.replace(small_model(), **changes)
    with pytest.raises(StageError, match=message):
        run(small_training(model=model), shards)
