import dataclasses
from itertools import combinations
from typing import TypeVar

import pytest
import torch

from mggtalk.errors import StageError
from mggtalk.geometry.cameras import project, transform_points
from mggtalk.geometry.head.landmark_sets import mediapipe_478
from mggtalk.models.batches import (
    DriverBatch,
    SourceBatch,
    TargetBatch,
    TrackBatch,
    collate_drivers,
    collate_sources,
    collate_targets,
)
from mggtalk.training.config import AugmentConfig
from mggtalk.training.data.augmentation import Augmentation, MirrorIndices, mirrored_expression_indices, mirrored_source
from mggtalk.training.data.host_batch import Batch
from tests.support.synthetic_head import head_frame, make_head, source_frame

MIRROR = torch.from_numpy(mediapipe_478().mirror)
MIRROR_INDICES = MirrorIndices(MIRROR, torch.tensor([1, 0]))
PartT = TypeVar("PartT", SourceBatch, DriverBatch, TargetBatch, TrackBatch)
NOTHING = AugmentConfig(color=0.0, mirror=False, roll_deg=0.0, zoom=0.0, shift=0.0)
BOTH = dataclasses.replace(NOTHING, color=0.2, mirror=True)


def make_batch(people: int = 8) -> Batch:
    sources = [source_frame(make_head(person), 32, 25.0, (0.2, 0.7)) for person in range(people)]
    targets = [head_frame(make_head(person), 32, -10.0, (0.6, 0.1)) for person in range(people)]
    landmarks = torch.stack([torch.from_numpy(frame.landmarks) for frame in targets])
    expression = torch.rand(people, 2, generator=torch.Generator().manual_seed(0))
    tracks = TrackBatch(landmarks, landmarks + 1, expression, expression.flip(0))
    return collate_sources(sources), collate_drivers(targets), collate_targets(targets), tracks


def flat(batch: Batch) -> list[torch.Tensor]:
    return [getattr(part, entry.name) for part in batch for entry in dataclasses.fields(part)]


def last_half(part: PartT) -> PartT:
    return type(part)(**{entry.name: getattr(part, entry.name)[4:] for entry in dataclasses.fields(part)})


def test_nothing_asked_for_changes_nothing():
    batch = make_batch()
    same = Augmentation(NOTHING, 1, None)(batch, range(8), range(8))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(flat(same), flat(batch), strict=True))


def test_a_mirrored_head_projects_onto_its_mirrored_image():
    source, *_ = make_batch(1)
    mirrored = mirrored_source(source, MIRROR_INDICES)
    before, after = (
        project(transform_points(one.head_to_camera, one.landmarks), one.intrinsics) for one in (source, mirrored)
    )
    expected = before[:, MIRROR] * torch.tensor([-1.0, 1.0]) + torch.tensor([32.0, 0.0])
    torch.testing.assert_close(after, expected, atol=1e-3, rtol=0)
    twice = mirrored_source(mirrored, MIRROR_INDICES)
    for entry in dataclasses.fields(source):
        torch.testing.assert_close(getattr(twice, entry.name), getattr(source, entry.name))


def test_a_pair_is_changed_alike_wherever_it_stands():
    augment, batch = Augmentation(BOTH, 3, MIRROR_INDICES), make_batch()
    whole = flat(augment(batch, range(40, 48), range(40, 48)))
    source, driver, target, tracks = batch
    half = last_half(source), last_half(driver), last_half(target), last_half(tracks)
    rest = flat(augment(half, range(44, 48), range(44, 48)))
    assert all(torch.equal(ours[4:], theirs) for ours, theirs in zip(whole, rest, strict=True))


def test_every_seed_draws_otherwise():
    batch = make_batch()
    seeds = (0, 1, 2**63, 2**63 + 1, 2**64 - 1)
    images = [Augmentation(BOTH, seed, MIRROR_INDICES)(batch, range(8), range(8))[0].image for seed in seeds]
    assert all(not torch.equal(one, other) for one, other in combinations(images, 2))


def test_pairs_far_on_in_a_run_have_draws_of_their_own():
    batch, augment = make_batch(), Augmentation(BOTH, 3, MIRROR_INDICES)
    first, far = (augment(batch, range(start, start + 8), range(8))[0].image for start in (0, 2**40))
    assert not torch.equal(first, far)


def test_some_pairs_are_mirrored_and_source_and_target_go_together():
    batch = make_batch()
    source, driver, target, _ = Augmentation(dataclasses.replace(NOTHING, mirror=True), 3, MIRROR_INDICES)(
        batch, range(8), range(8)
    )
    is_mirrored = [not torch.equal(ours, theirs) for ours, theirs in zip(source.image, batch[0].image, strict=True)]
    assert 0 < sum(is_mirrored) < 8
    for number, mirrored in enumerate(is_mirrored):
        assert torch.equal(
            target.image[number], batch[2].image[number].flip(-1) if mirrored else batch[2].image[number]
        )
        landmarks = batch[2].landmarks_px[number]
        swapped = landmarks[MIRROR] * torch.tensor([-1.0, 1.0]) + torch.tensor([32.0, 0.0])
        torch.testing.assert_close(target.landmarks_px[number], swapped if mirrored else landmarks)
        expression = batch[1].expression[number]
        assert torch.equal(driver.expression[number], expression.flip(0) if mirrored else expression)


def test_colors_of_source_and_target_change_alike():
    batch = make_batch(2)
    grey = dataclasses.replace(batch[0], image=batch[2].image)
    source, _, target, _ = Augmentation(dataclasses.replace(NOTHING, color=0.3), 3, None)(
        (grey, *batch[1:]), range(2), range(2)
    )
    assert torch.equal(source.image, target.image)
    assert (source.image - grey.image).abs().mean() > 0.02
    assert source.image.min() >= 0
    assert source.image.max() <= 1


def test_cameras_of_a_pair_move_together_and_each_in_its_own_way():
    batch = make_batch()
    moving = dataclasses.replace(NOTHING, roll_deg=8.0, zoom=0.1, shift=0.05)
    source, driver, target, tracks = Augmentation(moving, 3, None)(batch, range(8), range(8))
    assert torch.equal(tracks.source_landmarks, batch[3].source_landmarks)
    before, after = (
        project(transform_points(one.head_to_camera, batch[0].landmarks), one.intrinsics) for one in (batch[1], driver)
    )
    # Jitter maps the driver's points, the target's landmarks and the source alike.
    for number in range(8):
        change = torch.linalg.lstsq(_homogeneous(before[number]), after[number]).solution
        expected = _homogeneous(batch[2].landmarks_px[number]) @ change
        torch.testing.assert_close(target.landmarks_px[number], expected, atol=1e-2, rtol=0)
    torch.testing.assert_close(source.intrinsics[:, 0, 0], driver.intrinsics[:, 0, 0])
    assert len(set(driver.intrinsics[:, 0, 0].tolist())) == 8
    assert (driver.intrinsics[:, 0, 0] / batch[1].intrinsics[:, 0, 0]).log().abs().max() < 0.2 + 1e-5


def _homogeneous(points: torch.Tensor) -> torch.Tensor:
    return torch.cat((points, torch.ones_like(points[:, :1])), dim=1)


def test_coefficients_change_sides():
    names = ("neutral", "jawLeft", "eyeBlinkRight", "jawRight", "eyeBlinkLeft")
    assert mirrored_expression_indices(names).tolist() == [0, 3, 4, 1, 2]


@pytest.mark.parametrize("names", [("jawLeft", "neutral"), ("component_0", "component_1")])
def test_coefficients_without_sides_are_refused(names):
    with pytest.raises(StageError, match=r"train\.augment\.mirror"):
        mirrored_expression_indices(names)
