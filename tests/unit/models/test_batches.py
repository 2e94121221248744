import dataclasses

import numpy as np
import torch

from mggtalk.models.batches import SourceBatch, collate_drivers, collate_sources, collate_targets
from tests.support.synthetic_head import head_frame, make_head, source_frame

NAMES = [field.name for field in dataclasses.fields(SourceBatch)]


def test_sources_keep_their_values_in_the_axes_of_images():
    frames = [source_frame(make_head(0), 32, yaw, (0.25, 1.0)) for yaw in (0.0, 30.0)]
    batch = collate_sources(frames)
    second = frames[1]
    np.testing.assert_allclose(batch.image[1].permute(1, 2, 0).numpy() * 255, second.frame.image, atol=1e-4)
    assert np.array_equal(batch.head_mask[1, 0].numpy() > 0, second.frame.head_mask)
    assert np.array_equal(batch.depth[1, 0].numpy(), second.depth)
    assert np.array_equal(batch.normals[1].permute(1, 2, 0).numpy(), second.normals)
    assert np.array_equal(batch.expression[1].numpy(), second.frame.expression)
    assert np.array_equal(batch.head_to_camera[1].numpy(), second.frame.head_to_camera)
    assert np.array_equal(batch.intrinsics[1].numpy(), second.frame.intrinsics)
    assert all(getattr(batch, name).dtype == torch.float32 for name in NAMES)


def test_targets_and_drivers_are_of_the_same_frames():
    frames = [head_frame(make_head(person), 32, 10.0 * person, (0.5, 0.0)) for person in range(3)]
    driver, target = collate_drivers(frames), collate_targets(frames)
    assert target.image.shape == (3, 3, 32, 32)
    assert target.head_mask.shape == target.valid.shape == (3, 1, 32, 32)
    assert np.array_equal(driver.head_to_camera[2].numpy(), frames[2].head_to_camera)
    assert np.array_equal(target.valid[2, 0].numpy() > 0, frames[2].valid)


def test_moving_to_a_device_takes_every_tensor_along():
    batch = collate_sources([source_frame(make_head(0), 32)]).to("meta")
    assert all(getattr(batch, name).device.type == "meta" for name in NAMES)
