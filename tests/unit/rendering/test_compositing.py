import torch

from mggtalk.rendering.compositing import Spans, composite


def test_gradient_agrees_with_finite_differences():
    generator = torch.Generator().manual_seed(0)
    gaussian = torch.tensor([0, 0, 1, 2, 2, 3, 4, 4])
    spans = Spans(
        gaussian=gaussian,
        first_pixel=torch.tensor([1, 6, 0, 2, 7, 6, 0, 5]),
        length=torch.tensor([3, 4, 5, 2, 0, 4, 5, 5]),
        num_pixels=12,
    )
    log_peak = torch.rand(8, generator=generator, dtype=torch.float64).mul(0.6).log()
    offset = torch.randn(8, generator=generator, dtype=torch.float64)
    precision = torch.rand(8, generator=generator, dtype=torch.float64) + 0.2
    features = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    inputs = [values.requires_grad_() for values in (log_peak, offset, precision, features)]

    def composited(*values: torch.Tensor) -> torch.Tensor:
        log_peak, offset, precision, features = values
        return composite(log_peak, offset, precision, features, spans)

    assert torch.autograd.gradcheck(composited, inputs)


def test_nearer_spans_hide_farther_ones():
    spans = Spans(torch.tensor([0, 1]), torch.tensor([0, 1]), torch.tensor([2, 2]), num_pixels=4)
    flat = torch.zeros(2, dtype=torch.float64)
    log_peak = torch.tensor([0.75, 0.5], dtype=torch.float64).log()
    image = composite(log_peak, flat, flat, torch.eye(2, dtype=torch.float64), spans)
    expected = torch.tensor([[0.75, 0], [0.75, 0.125], [0, 0.5], [0, 0]], dtype=torch.float64)
    torch.testing.assert_close(image, expected)
