import math

import pytest
import torch
from torch import nn

from mggtalk.models.networks import layers
from mggtalk.models.networks.layers import MLP, ConvBlock, PositionalEncoding, UNet, ZeroInitLinear, cast_weights_bf16
from tests.unit.models.small import perturb


@pytest.mark.parametrize(("height", "width"), [(4, 4), (12, 8), (32, 32)])
def test_unet_keeps_the_size_of_its_image(height, width):
    unet = UNet(in_channels=5, out_channels=3, channels=4, levels=3)
    assert unet(torch.rand(2, 5, height, width)).shape == (2, 3, height, width)


def test_unet_starts_at_zero_and_leaves_it_with_its_weights():
    torch.manual_seed(0)
    unet = UNet(in_channels=2, out_channels=1, channels=4, levels=3)
    image = torch.rand(1, 2, 8, 8)
    assert (unet(image) == 0).all()
    perturb(unet)
    assert (unet(image) != 0).all()


def test_every_scale_of_the_unet_reaches_its_output():
    torch.manual_seed(0)
    unet = UNet(in_channels=1, out_channels=1, channels=8, levels=4, condition_size=3)
    perturb(unet)
    unet(torch.rand(1, 1, 16, 16), torch.rand(1, 3)).square().sum().backward()
    silent = [name for name, weight in unet.named_parameters() if weight.grad is None or weight.grad.abs().max() < 1e-6]
    assert silent == []


def test_conv_block_with_a_stride_shrinks_by_it():
    assert ConvBlock(3, 4, stride=2)(torch.rand(1, 3, 8, 12)).shape == (1, 4, 4, 6)


def test_a_condition_starts_without_effect_and_then_changes_the_image():
    torch.manual_seed(0)
    unet = UNet(in_channels=1, out_channels=1, channels=4, levels=2, condition_size=3)
    torch.nn.init.ones_(unet.out.weight)
    image, condition = torch.rand(1, 1, 8, 8), torch.ones(1, 3)
    assert torch.equal(unet(image, condition), unet(image, 0 * condition))
    perturb(unet)
    assert not torch.allclose(unet(image, condition), unet(image, 0 * condition))


def test_perceptron_has_the_hidden_layers_asked_for():
    perceptron = MLP(3, 8, layers=2)
    assert [type(layer).__name__ for layer in perceptron] == ["Linear", "SiLU", "Linear", "SiLU"]
    assert perceptron(torch.rand(5, 3)).shape == (5, 8)


def test_zero_linear_starts_at_zero_and_learns():
    layer = ZeroInitLinear(3, 2)
    features = torch.rand(5, 3)
    assert torch.equal(layer(features), torch.zeros(5, 2))
    layer(features).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.abs().min() > 0


def test_positional_encoding_agrees_with_its_formula():
    encoding = PositionalEncoding(octaves=3, extent_cm=10.0)
    point = [4.0, -2.5, 7.0]
    scaled = [value / 10.0 for value in point]
    phases = [value * math.pi * 2**octave for value in scaled for octave in range(3)]
    expected = [*scaled, *(math.sin(phase) for phase in phases), *(math.cos(phase) for phase in phases)]
    got = encoding(torch.tensor([point]))
    assert got.shape == (1, encoding.channels)
    torch.testing.assert_close(got[0], torch.tensor(expected), atol=1e-5, rtol=0)


def test_rounded_weights_give_what_mixed_precision_gives(monkeypatch):
    """On CUDA; here on the CPU, whose bfloat16 rounds alike."""
    monkeypatch.setattr(layers, "mixed_precision", lambda device: torch.autocast(device.type, torch.bfloat16))
    torch.manual_seed(0)
    unet, perceptron = UNet(3, 2, 8, levels=2, condition_size=4), nn.Sequential(MLP(5, 8, 2), ZeroInitLinear(8, 3))
    for network in (unet, perceptron):
        perturb(network, scale=0.3)
    given = torch.rand(2, 3, 16, 16), torch.rand(2, 4), torch.rand(7, 5)

    def computed() -> tuple[torch.Tensor, torch.Tensor]:
        return unet(*given[:2]), perceptron(given[2])

    before = computed()
    for network in (unet, perceptron):
        cast_weights_bf16(network)
        assert {weight.dtype for weight in network.parameters()} == {torch.bfloat16}
    assert all(torch.equal(one, other) for one, other in zip(before, computed(), strict=True))
