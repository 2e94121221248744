import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from mggtalk.training.losses.ssim import ssim


def test_similarity_is_that_of_torchmetrics_at_every_pixel():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, 33, 20, generator=generator)
    expected = (image + 0.1 * torch.randn(image.shape, generator=generator)).clamp(0, 1)
    _, oracle = structural_similarity_index_measure(image, expected, data_range=1.0, return_full_image=True)
    torch.testing.assert_close(ssim(image, expected), oracle, atol=1e-4, rtol=0)
    torch.testing.assert_close(ssim(image, image), torch.ones_like(image))
