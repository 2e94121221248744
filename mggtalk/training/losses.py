"""The training loss: L1 + SSIM on the head before and after densification and on the final image, and guides."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchmetrics.functional.image import structural_similarity_index_measure

from mggtalk.models.batches import DriverBatch, SourceBatch, TargetBatch, TrackBatch
from mggtalk.models.predictor import DrivenImages, TalkingHeadPredictor
from mggtalk.training.config import LossWeights

Image = Float[Tensor, "batch 3 height width"]
Mask = Float[Tensor, "batch 1 height width"]


def photometric(image: Image, expected: Image, valid: Mask, ssim_weight: float) -> Tensor:
    """Return L1 + `ssim_weight` * (1 - SSIM), both as means over the valid pixels of each image, then over the images.

    So the loss of a batch does not depend on how it is shared out among workers.
    """
    image, expected = image * valid, expected * valid
    _, similarity = structural_similarity_index_measure(image, expected, data_range=1.0, return_full_image=True)
    difference = (image - expected).abs() + ssim_weight * (1 - similarity) * valid
    return (difference.mean(dim=(1, 2, 3)) / valid.mean(dim=(1, 2, 3)).clamp(min=1e-6)).mean()


class TrainingStep(nn.Module):
    """Forward pass and loss as one module, so that data-parallel training wraps both."""

    def __init__(self, predictor: TalkingHeadPredictor, weights: LossWeights) -> None:
        super().__init__()
        self.predictor = predictor
        self.weights = weights

    def forward(
        self, source: SourceBatch, driver: DriverBatch, target: TargetBatch, tracks: TrackBatch
    ) -> dict[str, Tensor]:
        """Return the parts of the loss and `total`, their weighted sum."""
        avatar, images = self.predictor(source, driver)
        parts = self._image_parts(images, target)
        parts["landmarks"] = self._landmark_distance(tracks)
        parts["depth_offset"] = avatar.depth_offset.square().mean()
        weights = self.weights
        total = (
            parts["final"]
            + parts["head"]
            + parts["coarse"]
            + weights.alpha * parts["alpha"]
            + weights.landmarks * parts["landmarks"]
            + weights.depth_offset * parts["depth_offset"]
        )
        return {"total": total, **parts}

    def _image_parts(self, images: DrivenImages, target: TargetBatch) -> dict[str, Tensor]:
        assert images.coarse is not None
        assert images.coarse_alpha is not None
        head = target.image * target.head_mask
        ssim = self.weights.ssim
        return {
            "final": photometric(images.image, target.image, target.valid, ssim),
            "head": photometric(images.head, head, target.valid, ssim),
            "coarse": photometric(images.coarse, head, target.valid, ssim),
            "alpha": ((images.head_alpha - target.head_mask).abs() * target.valid).mean()
            + ((images.coarse_alpha - target.head_mask).abs() * target.valid).mean(),
        }

    def _landmark_distance(self, tracks: TrackBatch) -> Tensor:
        """Return how far, in cm, the deformation leaves the sources' landmarks from the targets'.

        Ours, not the paper's: the tracks say where 478 points of the face go, which teaches the deformation what
        expressions do long before the renders could, and needs no picture.
        """
        batch, count, _ = tracks.source_landmarks.shape
        head = torch.arange(batch, device=tracks.source_landmarks.device).repeat_interleave(count)
        moved = self.predictor.deformation(
            tracks.source_landmarks.flatten(0, 1), head, tracks.source_expression, tracks.target_expression
        ).reshape(batch, count, 3)
        distance: Tensor = (tracks.source_landmarks + moved - tracks.target_landmarks).norm(dim=-1)
        return distance.mean()
