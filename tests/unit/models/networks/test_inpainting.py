import dataclasses

import pytest
import torch
from torch.nn import functional

from mggtalk.models.networks.inpainting import Inpainting, fill_unknown, torso_background
from tests.unit.models.small import perturb, small_model, source_batch

SIZES = [(1, 1), (2, 4), (7, 5), (32, 32)]


@pytest.mark.parametrize("size", SIZES)
def test_filling_keeps_what_is_known(size):
    generator = torch.Generator().manual_seed(0)
    known = (torch.rand(2, 1, *size, generator=generator) > 0.5).float()
    image = torch.rand(2, 3, *size, generator=generator) * known
    filled = fill_unknown(image, known)
    assert torch.equal(filled * known, image)


@pytest.mark.parametrize("size", SIZES)
def test_filling_a_constant_gives_the_constant(size):
    known = torch.zeros(1, 1, *size)
    known[..., 0, size[1] // 2] = 1  # a single pixel has to fill all others
    filled = fill_unknown(0.3 * known.expand(-1, 3, -1, -1), known)
    torch.testing.assert_close(filled, torch.full_like(filled, 0.3))


def test_filling_stays_between_the_values_around():
    image = torch.zeros(1, 1, 8, 8)
    known = torch.zeros(1, 1, 8, 8)
    known[..., :2], known[..., 6:] = 1, 1
    image[..., 6:] = 1
    filled = fill_unknown(image, known)[0, 0]
    assert (filled[:, 1:].diff(dim=1) >= 0).all()
    assert ((filled[:, 3:5] > 0.1) & (filled[:, 3:5] < 0.9)).all()


def test_filling_from_nothing_gives_numbers():
    filled = fill_unknown(torch.zeros(1, 3, 16, 16), torch.zeros(1, 1, 16, 16))
    assert torch.equal(filled, torch.zeros(1, 3, 16, 16))


def test_background_leaves_out_the_widened_head_and_fades_in_around_it():
    source = source_batch([(0, 20.0, (0.0, 0.0))], size=64)
    background = torso_background(source)
    known = background[:, 3:]
    near = functional.max_pool2d(source.head_mask, 3, stride=1, padding=1) > 0
    far = functional.max_pool2d(source.head_mask, 9, stride=1, padding=4) == 0  # 1/32 of 64 pixels, and the seam
    assert (known[near] == 0).all()
    assert (known[far] == 1).all()
    seam = known[~near & ~far]
    assert len(torch.unique(seam)) > 4
    assert (known.diff(dim=-1).abs() <= 0.67).all()  # no hard edge: 3 pixels wide
    whole = far.expand(-1, 3, -1, -1)
    assert torch.equal(background[:, :3][whole], source.image[whole])


def test_a_constant_background_stays_constant_through_the_seam():
    source = source_batch([(0, 20.0, (0.0, 0.0))], size=64)
    grey = dataclasses.replace(source, image=torch.full_like(source.image, 0.4))
    torch.testing.assert_close(torso_background(grey)[:, :3], grey.image)


def test_background_holds_no_trace_of_the_head():
    source = source_batch([(0, 20.0, (0.0, 0.0))], size=64)
    painted = source.image * (1 - source.head_mask) + torch.tensor([1.0, 0, 0]).reshape(1, 3, 1, 1) * source.head_mask
    other = dataclasses.replace(source, image=painted)
    assert torch.equal(torso_background(source), torso_background(other))


def test_background_takes_nothing_from_invalid_pixels():
    source = source_batch([(0, 20.0, (0.0, 0.0))], size=64)
    valid = torch.ones_like(source.valid)
    valid[..., :20] = 0
    noise = torch.rand(source.image.shape, generator=torch.Generator().manual_seed(0))
    spoiled = source.image * valid + noise * (1 - valid)
    background = torso_background(dataclasses.replace(source, valid=valid))
    assert torch.equal(background, torso_background(dataclasses.replace(source, valid=valid, image=spoiled)))
    assert (background[:, 3, :, :20] == 0).all()


def test_untrained_inpainting_is_the_composite():
    torch.manual_seed(0)
    inpainting = Inpainting(small_model())
    alpha = torch.rand(1, 1, 32, 32)
    rendered, background, calm = torch.rand(1, 5, 32, 32) * alpha, torch.rand(1, 4, 32, 32), torch.zeros(1, 4)
    shut = torch.zeros(1, 3, 32, 32)
    composite = rendered[:, :3] + (1 - alpha) * background[:, :3]
    assert torch.equal(inpainting(rendered, alpha, background, shut, calm), composite)
    perturb(inpainting)
    painted = inpainting(rendered, alpha, background, shut, calm)
    assert not torch.allclose(painted, composite, atol=1e-2)
    assert not torch.allclose(inpainting(rendered, alpha, background, shut, calm + 1), painted, atol=1e-3)
    assert not torch.allclose(inpainting(rendered, alpha, background, shut + 1, calm), painted, atol=1e-3)
