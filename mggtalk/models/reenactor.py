"""A trained predictor as users want it: arrays in, uint8 images out, one head at a time."""

import dataclasses

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from mggtalk.models.animator import Animator
from mggtalk.models.batches import DriverBatch, SourceBatch, collate_sources
from mggtalk.models.predictor import Avatar, TalkingHeadPredictor
from mggtalk.records import SourceFrame


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class ReconstructedHead:
    """A head to drive, and the camera that it was seen through."""

    avatar: Avatar
    source: SourceBatch
    animator: Animator


class Reenactor:
    """Reconstructs a head from one frame and renders it under other expressions and poses."""

    def __init__(self, predictor: TalkingHeadPredictor, device: torch.device | str) -> None:
        """Take a predictor for good: see `TalkingHeadPredictor.for_inference`."""
        self._device = torch.device(device)
        self._predictor = predictor.for_inference(self._device)

    @property
    def resolution(self) -> int:
        """Side of sources and results in pixels."""
        return self._predictor.settings.resolution

    @torch.no_grad()
    def reconstruct(self, source: SourceFrame) -> ReconstructedHead:
        """Return the head in a source frame of this resolution.

        Raises:
            ValueError: the frame has another size.
        """
        if source.depth.shape != (self.resolution, self.resolution):
            raise ValueError(f"source frame: expected {self.resolution} px square, got {source.depth.shape}")
        batch = collate_sources([source]).to(self._device)
        avatar = self._predictor.reconstruct(batch)
        head = ReconstructedHead(avatar, batch, Animator(self._predictor, avatar))
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)  # so that a timer measures the work, as in `render`
        return head

    @torch.no_grad()
    def render(
        self,
        head: ReconstructedHead,
        expression: Float32[np.ndarray, " num_coefficients"],
        head_to_camera: Float32[np.ndarray, "4 4"],
    ) -> UInt8[np.ndarray, "resolution resolution 3"]:
        """Return the image of `head` under an expression and a pose, through the camera of its source."""
        driver = DriverBatch(
            expression=torch.tensor(expression[None], device=self._device),
            head_to_camera=torch.tensor(head_to_camera[None], device=self._device),
            intrinsics=head.source.intrinsics,
        )
        image = head.animator(driver)[0]
        return np.asarray((image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy())

    def num_gaussians(self, head: ReconstructedHead) -> int:
        """Return how many Gaussians are rendered."""
        parents, settings = len(head.avatar.packing.batch_index), self._predictor.settings
        return parents * self._predictor.densification.num_children if settings.densification else parents
