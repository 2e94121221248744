"""The training loss: L1 + SSIM on the head before and after densification and on the final image, and guides."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mggtalk.models.batches import DriverBatch, SourceBatch, TargetBatch, TrackBatch
from mggtalk.models.predictor import DrivenImages, TalkingHeadPredictor
from mggtalk.training.config import LossWeights
from mggtalk.training.perceptual import PerceptualDistance
from mggtalk.training.structural_similarity import structural_similarity

Image = Float[Tensor, "batch 3 height width"]
Mask = Float[Tensor, "batch 1 height width"]


def photometric(image: Image, expected: Image, valid: Mask, ssim_weight: float) -> Float[Tensor, " batch"]:
    """Return L1 + `ssim_weight` * (1 - SSIM) of each image, both as means over its valid pixels.

    Of each image, so that the loss of a batch does not depend on how it is shared out among workers.
    """
    image, expected = image * valid, expected * valid
    difference = (image - expected).abs() + ssim_weight * (1 - structural_similarity(image, expected)) * valid
    return difference.mean(dim=(1, 2, 3)) / valid.mean(dim=(1, 2, 3)).clamp(min=1e-6)


class TrainingStep(nn.Module):
    """Forward pass and loss as one module, so that data-parallel training wraps both."""

    def __init__(
        self, predictor: TalkingHeadPredictor, weights: LossWeights, perceptual: PerceptualDistance | None = None
    ) -> None:
        super().__init__()
        self.predictor = predictor
        self.weights = weights
        self.perceptual = perceptual  # no module: nothing of it is trained or kept

    def forward(
        self, source: SourceBatch, driver: DriverBatch, target: TargetBatch, tracks: TrackBatch, *, coarse: bool = False
    ) -> dict[str, Tensor]:
        """Return the parts of the loss and `total`, their weighted sum.

        Args:
            coarse: parents only; see `TrainConfig.coarse_share`.
        """
        weights = self.weights
        avatar, images = self.predictor(source, driver, coarse=coarse)
        parts = self._image_parts(images, target)
        total = sum(parts.values())
        parts["alpha"] = self._alpha_difference(images, target)
        parts["landmarks"] = self.landmark_distance(tracks)
        parts["depth_offset"] = avatar.depth_offset.square().mean()
        total = (
            total
            + weights.alpha * parts["alpha"]
            + weights.landmarks * parts["landmarks"]
            + weights.depth_offset * parts["depth_offset"]
        )
        if self.perceptual:
            parts["perceptual"] = self.perceptual(images, target)
            total = total + weights.perceptual * parts["perceptual"]
        return {"total": total, **parts}

    def _image_parts(self, images: DrivenImages, target: TargetBatch) -> dict[str, Tensor]:
        head = target.image * target.head_mask
        expected = {"final": target.image, "head": head, "coarse": head}
        rendered = {"final": images.image, "head": images.head, "coarse": images.coarse}
        made = {name: image for name, image in rendered.items() if image is not None}
        losses = photometric(
            torch.cat([*made.values()]),
            torch.cat([expected[name] for name in made]),
            target.valid.repeat(len(made), 1, 1, 1),
            self.weights.ssim,
        )
        return dict(zip(made, losses.reshape(len(made), -1).mean(dim=1).unbind(), strict=True))

    @staticmethod
    def _alpha_difference(images: DrivenImages, target: TargetBatch) -> Tensor:
        """Return how far the alphas of the renders are from the head mask."""
        alphas = [alpha for alpha in (images.head_alpha, images.coarse_alpha) if alpha is not None]
        return torch.stack([((alpha - target.head_mask).abs() * target.valid).mean() for alpha in alphas]).sum()

    def landmark_distance(self, tracks: TrackBatch) -> Tensor:
        """Return how far, in cm, the deformation leaves the sources' landmarks from the targets'.

        Ours, not the paper's: the tracks say where 478 points of the face go, which teaches the deformation what
        expressions do long before the renders could, and needs no picture.
        """
        source, change = tracks.source_landmarks, tracks.target_expression - tracks.source_expression
        moved = source + self.predictor.deformation(source, source, change)
        distance: Tensor = (moved - tracks.target_landmarks).norm(dim=-1)
        return distance.mean()
