import dataclasses
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from mggtalk.geometry.cameras import project, transform_points
from mggtalk.geometry.head.landmark_sets import landmark_set
from mggtalk.models.batches import DriverBatch, SourceBatch, TargetBatch, TrackBatch
from mggtalk.models.predictor import TalkingHeadPredictor
from mggtalk.shards import Shards
from mggtalk.training.config import AugmentConfig
from mggtalk.training.data.augmentation import Augmentation, MirrorIndices
from mggtalk.training.loop import make_loader
from mggtalk.training.losses.training_loss import TrainingStep, mask_around, photometric
from tests.support.operations import WAITING, Operations
from tests.unit.models.small import perturb, small_model
from tests.unit.training.small import ALONE, small_training

MIRROR_INDICES = MirrorIndices(torch.arange(478), torch.arange(2))
Batch = tuple[SourceBatch, DriverBatch, TargetBatch, TrackBatch]


@pytest.fixture
def batch(shards: Shards) -> Batch:
    settings = small_training(batch_size=4, track_pairs=4)
    return make_loader(settings, shards, ALONE).load(0).batch.unpack(ALONE.device)


def make_step() -> TrainingStep:
    torch.manual_seed(0)
    # Two channels to a norm's group, as in earnest: alone in its group, a channel's bias would be normalised away.
    model = dataclasses.replace(small_model(), unet_channels=8)
    return TrainingStep(TalkingHeadPredictor(model), small_training().loss)


def evaluated(step: TrainingStep, *batch: Any) -> dict[str, float]:
    with torch.no_grad():
        return {name: float(value) for name, value in step(*batch).items()}


def test_every_weight_of_every_box_is_learned(batch):
    step = make_step()
    optimizer = torch.optim.AdamW(step.parameters(), lr=1e-2)
    step(*batch)["total"].backward()
    assert all(parameter.grad is not None for parameter in step.parameters())
    optimizer.step()  # the residual branches start at zero, and hold back the gradient of what lies before them
    optimizer.zero_grad()
    step(*batch)["total"].backward()
    gradients = {name: parameter.grad for name, parameter in step.predictor.named_parameters()}
    silent = [name for name, gradient in gradients.items() if gradient is None or gradient.abs().max() < 1e-9]
    assert silent == []
    boxes = {name.split(".")[0] for name in gradients}
    assert boxes == {
        "geometry_refinement",
        "identity_encoder",
        "deformation",
        "visible_decoder",
        "symmetric_decoder",
        "densification",
        "inpainting",
    }


def test_total_is_the_weighted_sum_of_the_parts(batch):
    step = make_step()
    parts = evaluated(step, *batch)
    weights = step.weights
    expected = (
        parts["final"]
        + parts["head"]
        + parts["coarse"]
        + weights.eyes_and_mouth * parts["eyes_and_mouth"]
        + weights.alpha * parts["alpha"]
        + weights.landmarks * parts["landmarks"]
        + weights.depth_offset * parts["depth_offset"]
        + weights.depth_offset_face * parts["depth_offset_face"]
    )
    assert parts["total"] == pytest.approx(expected, rel=1e-5)
    assert min(parts[name] for name in ("final", "head", "coarse", "eyes_and_mouth", "alpha", "landmarks")) > 0


def test_each_part_judges_its_own_image(batch):
    source, driver, target, _ = batch
    step = make_step()
    perturb(step.predictor, scale=0.05)
    parts = evaluated(step, *batch)
    with torch.no_grad():
        avatar, images = step.predictor(source, driver)
    assert images.coarse is not None
    head, valid = target.image * target.head_mask, target.valid
    assert parts["final"] == pytest.approx(float(photometric(images.image, target.image, valid, 0.2).mean()), rel=1e-5)
    assert parts["head"] == pytest.approx(float(photometric(images.head, head, valid, 0.2).mean()), rel=1e-5)
    assert parts["coarse"] == pytest.approx(float(photometric(images.coarse, head, valid, 0.2).mean()), rel=1e-5)
    alphas = (images.head_alpha - target.head_mask).abs().mean() + (images.coarse_alpha - target.head_mask).abs().mean()
    assert parts["alpha"] == pytest.approx(float(alphas), rel=1e-5)
    squared = avatar.depth_offset.square()
    assert parts["depth_offset"] == pytest.approx(float(squared.mean()), rel=1e-5)
    assert 0.02 * parts["depth_offset"] < parts["depth_offset_face"] < 0.8 * parts["depth_offset"]


def test_offsets_on_the_face_are_those_within_its_oval(batch):
    source, step = batch[0], make_step()
    oval = landmark_set("mediapipe_478").contours["face_oval"]
    seen = project(transform_points(source.head_to_camera, source.landmarks), source.intrinsics)[:, list(oval)]
    on_face = step._on_face(source, torch.zeros(4, 1, 16, 16))
    assert on_face.dtype == torch.bool
    for face, contour in zip(on_face[:, 0].numpy(), seen.numpy(), strict=True):
        assert face.sum() > 10
        for row, column in np.ndindex(16, 16):
            away = cv2.pointPolygonTest(contour, (2.0 * column + 1, 2.0 * row + 1), measureDist=True)
            assert face[row, column] == (away > 0) or abs(away) < 1e-3


def test_a_step_waits_for_its_device_only_where_sizes_follow_from_data(batch):
    step = make_step()
    with Operations() as recorded:
        batch = Augmentation(
            AugmentConfig(color=0.2, mirror=True, roll_deg=5.0, zoom=0.1, shift=0.05), 0, MIRROR_INDICES
        )(batch, range(4), range(4))
        avatar = step.predictor.reconstruct(batch[0])
        children = step.predictor.densify(avatar, step.predictor.animate(avatar, batch[1].expression))
    assert children.means.isfinite().all()
    waits = {name: count for name, count in recorded.counts.items() if name in WAITING}
    assert waits == {
        "aten.lift_fresh.default": 5,  # the draws of the augmentation, which go out of pinned memory
        # The counts of visible points, of mirrored points and of the longest row, each copied to the host while other
        # work is launched; the copy of keys lost by the voxel table does not show here.
        "aten._local_scalar_dense.default": 3,
    }


def test_landmarks_teach_the_deformation(batch):
    step = make_step()
    step(*batch)["landmarks"].backward()
    taught = {name.split(".")[0] for name, weight in step.predictor.named_parameters() if weight.grad is not None}
    assert taught == {"deformation"}


def test_invalid_pixels_do_not_change_the_loss(batch):
    source, driver, target, tracks = batch
    valid = torch.ones_like(target.valid)
    valid[:, :, :, 24:] = 0
    # The crop of a clip is fixed: where a target leaves the frame, its source does.
    source = dataclasses.replace(source, valid=valid, head_mask=source.head_mask * valid, depth=source.depth * valid)
    target = dataclasses.replace(target, valid=valid)
    noise = torch.rand(target.image.shape, generator=torch.Generator().manual_seed(0)) * (1 - valid)
    spoiled_source = dataclasses.replace(source, image=source.image * valid + noise)
    spoiled_target = dataclasses.replace(
        target, image=target.image * valid + noise, head_mask=target.head_mask * valid + (noise[:, :1] > 0.5)
    )
    step = make_step()
    loss = evaluated(step, source, driver, target, tracks)
    assert evaluated(step, spoiled_source, driver, spoiled_target, tracks) == loss
    all_valid = dataclasses.replace(spoiled_target, valid=torch.ones_like(valid))
    assert evaluated(step, source, driver, all_valid, tracks)["total"] > loss["total"] + 0.01


def test_photometric_loss_of_equal_images_is_zero_and_grows_with_the_difference():
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    valid = torch.ones(1, 1, 32, 32)
    assert float(photometric(image, image, valid, 0.2)) == pytest.approx(0, abs=1e-6)
    assert float(photometric(image, image + 0.1, valid, 0.0)) == pytest.approx(0.1, rel=1e-5)
    structure = float(photometric(image, image.flip(-1), valid, 0.2)) - float(
        photometric(image, image.flip(-1), valid, 0.0)
    )
    assert 0.1 < structure < 0.3  # SSIM of unrelated noise is about 0, at a weight of 0.2


def test_mse_joins_the_loss():
    image, valid = torch.full((1, 3, 32, 32), 0.5), torch.ones(1, 1, 32, 32)
    assert float(photometric(image, image + 0.1, valid, 0.0, 4.0)) == pytest.approx(0.1 + 4 * 0.01, rel=1e-5)


def test_mask_around_covers_each_part_of_the_face_and_little_more():
    landmarks_px = torch.full((2, 478, 2), 1000.0)
    corners = torch.tensor([[10.0, 20.0], [14.0, 18.0], [18.0, 20.0], [14.0, 22.0]])
    landmarks_px[0, :4], landmarks_px[0, 4:8] = corners, corners + torch.tensor([24.0, 20.0])
    mask = mask_around(landmarks_px, [torch.arange(4), torch.arange(4, 8)], 48, 64)[:, 0]
    inside = [(10, 20), (17, 20), (14, 17), (34, 40), (41, 40)]
    outside = [(4, 20), (24, 20), (14, 10), (28, 30)]
    assert [float(mask[0, row, column]) for column, row in inside] == [1.0] * 5
    assert [float(mask[0, row, column]) for column, row in outside] == [0.0] * 4
    assert not mask[1].any()


def test_eyes_and_mouth_are_judged_by_their_own_pixels(batch):
    source, driver, target, tracks = batch
    step = make_step()
    before = evaluated(step, *batch)["eyes_and_mouth"]
    mask = mask_around(
        target.landmarks_px, [torch.tensor(part) for part in landmark_set("mediapipe_478").eyes_and_mouth], 32, 32
    )
    assert 0.01 < float(mask.mean()) < 0.3
    elsewhere = dataclasses.replace(target, image=torch.where(mask > 0, target.image, 1 - target.image))
    assert evaluated(step, source, driver, elsewhere, tracks)["eyes_and_mouth"] == pytest.approx(before, rel=1e-5)
    there = dataclasses.replace(target, image=torch.where(mask > 0, 1 - target.image, target.image))
    assert evaluated(step, source, driver, there, tracks)["eyes_and_mouth"] != pytest.approx(before, rel=0.05)


def test_photometric_loss_is_a_mean_over_valid_pixels():
    image, valid = torch.full((1, 3, 32, 32), 0.5), torch.zeros(1, 1, 32, 32)
    valid[..., :8] = 1
    assert float(photometric(image, image + 0.1, valid, 0.0)) == pytest.approx(0.1, rel=1e-5)


def test_photometric_loss_of_an_image_is_the_same_in_any_batch():
    """So that two workers with an image each learn what one worker with both would."""
    generator = torch.Generator().manual_seed(0)
    images, expected = (torch.rand(2, 3, 32, 32, generator=generator) for _ in range(2))
    valid = torch.ones(2, 1, 32, 32)
    valid[1, ..., 4:] = 0
    alone = [
        float(photometric(image[None], wanted[None], mask[None], 0.2))
        for image, wanted, mask in zip(images, expected, valid, strict=True)
    ]
    assert photometric(images, expected, valid, 0.2).tolist() == pytest.approx(alone, rel=1e-5)


def test_landmark_part_is_the_distance_that_an_untrained_deformation_leaves(batch):
    tracks = batch[3]
    left = (tracks.target_landmarks - tracks.source_landmarks).norm(dim=-1).mean()
    assert float(left) > 0.05
    assert evaluated(make_step(), *batch)["landmarks"] == pytest.approx(float(left), rel=1e-5)


@pytest.mark.parametrize("geometry", [True, False])
@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize(
    "switch", [None, "geometry_refinement", "symmetry", "voxel_filter", "symmetric_decoder", "densification"]
)
def test_what_is_trained_is_what_the_loss_reaches(batch, switch, coarse, geometry):
    """Data-parallel training waits for the gradient of every weight that asks for one."""
    model = small_model(**({switch: False} if switch else {}))
    step = TrainingStep(TalkingHeadPredictor(model), small_training().loss)
    step.predictor.set_trained(coarse=coarse, geometry=geometry)
    step(*batch, coarse=coarse)["total"].backward()
    asked = {name for name, weight in step.named_parameters() if weight.requires_grad}
    reached = {name for name, weight in step.named_parameters() if weight.grad is not None}
    assert asked == reached
    assert (len(asked) == len(list(step.parameters()))) == (
        geometry and not coarse and switch in (None, "voxel_filter")
    )


def test_landmarks_that_nothing_learns_from_can_be_left_out(batch):
    gradients, parts = [], []
    for tracks in (batch[3], None):
        step = make_step()
        step.predictor.set_trained(coarse=False, geometry=False)
        parts.append(step(*batch[:3], tracks))
        parts[-1]["total"].backward()
        gradients.append({name: weight.grad for name, weight in step.named_parameters() if weight.grad is not None})
    assert set(parts[0]) - set(parts[1]) == {"landmarks"}
    apart = parts[0]["total"] - parts[1]["total"]
    assert apart.item() == pytest.approx(step.weights.landmarks * parts[0]["landmarks"].item(), rel=1e-4)
    assert gradients[0].keys() == gradients[1].keys()
    assert all(torch.equal(gradient, gradients[1][name]) for name, gradient in gradients[0].items())
