import dataclasses

import pytest
import torch

from mggtalk.geometry.cameras import project, transform_points
from mggtalk.models.batches import SourceBatch, collate_drivers, collate_sources, collate_targets
from mggtalk.training.data.camera_jitter import CameraJitter, jittered_driver, jittered_source, jittered_target
from tests.support.synthetic_head import head_frame, make_head, source_frame

SIZE = 64
JITTER = CameraJitter(torch.tensor([20.0, -5.0]), torch.tensor([1.2, 0.8]), torch.tensor([[3.0, -2.0], [0.0, 5.0]]))
NO_JITTER = CameraJitter(torch.zeros(2), torch.ones(2), torch.zeros(2, 2))


@pytest.fixture(scope="module")
def source() -> SourceBatch:
    return collate_sources([source_frame(make_head(person), SIZE, 25.0, (0.2, 0.7)) for person in range(2)])


def test_a_camera_that_stays_sees_the_same(source):
    same = jittered_source(source, NO_JITTER)
    for entry in dataclasses.fields(source):
        torch.testing.assert_close(getattr(same, entry.name), getattr(source, entry.name), atol=2e-4, rtol=1e-4)


def test_landmarks_project_to_where_their_pixels_go(source):
    jittered = jittered_source(source, JITTER)
    before, after = (
        project(transform_points(one.head_to_camera, one.landmarks), one.intrinsics) for one in (source, jittered)
    )
    torch.testing.assert_close(after, JITTER.map_pixels(before, SIZE), atol=1e-3, rtol=0)


def test_the_image_goes_where_its_pixels_go(source):
    ramp = torch.arange(SIZE).add(0.5).expand(2, 1, SIZE, SIZE)
    columns_and_rows = torch.cat((ramp, ramp.mT, ramp), dim=1)
    jittered = jittered_source(
        dataclasses.replace(source, image=columns_and_rows, valid=torch.ones(2, 1, SIZE, SIZE)), JITTER
    )
    positions = torch.tensor([[[20.5, 30.5], [40.5, 35.5]]] * 2)  # of pixels of the jittered images
    came_from = jittered.image[:, :2, [30, 35], [20, 40]].mT
    torch.testing.assert_close(JITTER.map_pixels(came_from, SIZE), positions, atol=1e-2, rtol=0)


def test_depth_and_normals_are_those_of_the_turned_head(source):
    """Jitter and undo it; the next test checks the direction of the turn."""
    jittered = jittered_source(source, JITTER)
    inside = -torch.nn.functional.max_pool2d(-jittered.head_mask, 5, 1, 2) > 0.5
    torch.testing.assert_close(jittered.normals.norm(dim=1)[inside[:, 0]], torch.ones(int(inside.sum())))
    back = CameraJitter(-JITTER.roll_deg, 1 / JITTER.zoom, _undone(JITTER))
    again = jittered_source(jittered, back)
    both = inside & (again.depth > 0) & (source.depth > 0)
    assert both.float().mean() > 0.1
    assert (again.depth - source.depth)[both].abs().median() < 0.1
    cosine = (again.normals * source.normals).sum(dim=1, keepdim=True)[both]
    assert cosine.median() > 0.98
    torch.testing.assert_close(again.head_to_camera, source.head_to_camera)
    torch.testing.assert_close(again.intrinsics, source.intrinsics)


def test_a_quarter_turn_turns_image_and_normals_alike(source):
    still = torch.zeros(2)
    jittered = jittered_source(source, CameraJitter(still + 90, still + 1, torch.zeros(2, 2)))
    clockwise = [plane.rot90(-1, (2, 3)) for plane in (source.image * source.valid, source.head_mask, source.normals)]
    torch.testing.assert_close(jittered.image, clockwise[0], atol=1e-3, rtol=0)
    torch.testing.assert_close(jittered.head_mask, clockwise[1])
    across, down, ahead = clockwise[2].unbind(dim=1)
    torch.testing.assert_close(jittered.normals, torch.stack((-down, across, ahead), dim=1), atol=1e-3, rtol=0)


def test_what_was_not_seen_is_not_valid(source):
    away = CameraJitter(torch.zeros(2), torch.ones(2), torch.tensor([[16.0, 0.0], [0.0, 0.0]]))
    jittered = jittered_source(dataclasses.replace(source, valid=torch.ones(2, 1, SIZE, SIZE)), away)
    assert jittered.valid[0, :, :, :16].max() == 0
    assert jittered.image[0, :, :, :16].max() == 0
    assert jittered.valid[0, :, :, 16:].min() == 1
    assert jittered.valid[1].min() == 1


def test_source_driver_and_target_of_a_pair_move_alike(source):
    frames = [head_frame(make_head(person), SIZE, 25.0, (0.2, 0.7)) for person in range(2)]
    target = jittered_target(collate_targets(frames), JITTER)
    driver = jittered_driver(collate_drivers(frames), JITTER, SIZE)
    jittered = jittered_source(source, JITTER)
    torch.testing.assert_close(target.image, jittered.image)
    torch.testing.assert_close(target.head_mask, jittered.head_mask)
    torch.testing.assert_close(driver.head_to_camera, jittered.head_to_camera)
    torch.testing.assert_close(driver.intrinsics, jittered.intrinsics)
    seen = project(transform_points(driver.head_to_camera, source.landmarks), driver.intrinsics)
    torch.testing.assert_close(target.landmarks_px, seen, atol=1e-2, rtol=0)


def _undone(jitter: CameraJitter) -> torch.Tensor:
    """Return the shift that brings the middle of the image back, given that roll and zoom are taken back."""
    turned = torch.einsum("bji,bj->bi", jitter.rotations[:, :2, :2], jitter.shift_px)
    return -turned / jitter.zoom.unsqueeze(1)
