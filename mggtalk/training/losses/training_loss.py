"""Computes the training loss: photometric terms on the renders and the final image, and regularisers."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from mggtalk.geometry.cameras import pixel_centers, project, transform_points
from mggtalk.geometry.contours import inside_contour
from mggtalk.geometry.head.landmark_sets import landmark_set
from mggtalk.models.batches import DriverBatch, SourceBatch, TargetBatch, TrackBatch
from mggtalk.models.predictor import DrivenImages, TalkingHeadPredictor
from mggtalk.training.config import LossWeights
from mggtalk.training.losses.perceptual import PerceptualDistance
from mggtalk.training.losses.ssim import ssim

_RADIUS_FACTOR = 2.5
"""Squared radius of a disc over the mean squared distance of its landmarks: slightly wider than an eye or a mouth."""

Image = Float[Tensor, "batch 3 height width"]
Mask = Float[Tensor, "batch 1 height width"]


def photometric(
    image: Image, expected: Image, valid: Mask, ssim_weight: float, mse_weight: float = 0.0
) -> Float[Tensor, " batch"]:
    """Return L1 + `ssim_weight` * (1 - SSIM) + `mse_weight` * MSE of each image, as means over its valid pixels.

    The means are taken per image, so that the loss of a batch does not depend on how it is split among workers.
    """
    image, expected = image * valid, expected * valid
    difference = image - expected
    loss = difference.abs() + ssim_weight * (1 - ssim(image, expected)) * valid
    if mse_weight:
        loss = loss + mse_weight * difference.square()
    return loss.mean(dim=(1, 2, 3)) / valid.mean(dim=(1, 2, 3)).clamp(min=1e-6)


def mask_around(
    landmarks_px: Float[Tensor, "batch num_landmarks 2"],
    parts: Sequence[Int64[Tensor, " part"]],
    height: int,
    width: int,
) -> Mask:
    """Return 1 in a disc around each part of the face, sized by the spread of its landmarks, and 0 elsewhere."""
    pixels = pixel_centers(height, width, landmarks_px.device)
    inside = torch.zeros(len(landmarks_px), height, width, dtype=torch.bool, device=landmarks_px.device)
    for part in parts:
        points = landmarks_px.index_select(1, part)
        center = points.mean(dim=1)
        squared_radius = _RADIUS_FACTOR * (points - center.unsqueeze(1)).square().sum(dim=-1).mean(dim=1)
        inside |= (pixels - center[:, None, None]).square().sum(dim=-1) < squared_radius[:, None, None]
    return inside.float().unsqueeze(1)


def _compared(images: DrivenImages, target: TargetBatch) -> dict[str, tuple[Image, Image]]:
    """Return each rendered image with its expected image, by name."""
    head = target.image * target.head_mask
    pairs = {"final": (images.image, target.image), "head": (images.head, head), "coarse": (images.coarse, head)}
    return {name: (image, expected) for name, (image, expected) in pairs.items() if image is not None}


class TrainingStep(nn.Module):
    """Computes forward pass and loss in one module, so that data-parallel training wraps both."""

    def __init__(
        self,
        predictor: TalkingHeadPredictor,
        weights: LossWeights,
        perceptual: PerceptualDistance | None = None,
    ) -> None:
        """Store the predictor and the terms of the loss."""
        super().__init__()
        self.predictor = predictor
        self.weights = weights
        self.perceptual = perceptual  # not a module, so it is neither trained nor saved
        self._photometric = photometric
        landmarks = landmark_set(predictor.settings.landmark_set)
        self.oval: Tensor
        self.register_buffer("oval", torch.tensor(landmarks.contours["face_oval"]), persistent=False)
        self._part_names = [f"part_{number}" for number in range(len(landmarks.eyes_and_mouth))]
        for name, part in zip(self._part_names, landmarks.eyes_and_mouth, strict=True):
            self.register_buffer(name, torch.tensor(part), persistent=False)

    def forward(
        self,
        source: SourceBatch,
        driver: DriverBatch,
        target: TargetBatch,
        tracks: TrackBatch | None,
        *,
        coarse: bool = False,
    ) -> dict[str, Tensor]:
        """Return the parts of the loss and `total`, their weighted sum.

        Args:
            tracks: None omits `landmarks` from the parts and from `total`, for steps in which the deformation does not
                learn.
            coarse: parents only; see `TrainConfig.coarse_fraction`.
        """
        weights = self.weights
        # First, while the GPU still works on the step before: many small operations that wait for no tensor size.
        landmarks = self.landmark_distance(tracks) if tracks is not None else None
        avatar, images = self.predictor(source, driver, coarse=coarse)
        compared = _compared(images, target)
        parts = self._image_parts(compared, target)
        total = sum(parts.values())
        if weights.eyes_and_mouth:
            parts["eyes_and_mouth"] = self._difference_around(compared, target)
            total = total + weights.eyes_and_mouth * parts["eyes_and_mouth"]
        parts["alpha"] = self._alpha_difference(images, target)
        squared_offset = avatar.depth_offset.square()
        parts["depth_offset"] = squared_offset.mean()
        parts["depth_offset_face"] = (squared_offset * self._on_face(source, squared_offset)).mean()
        total = (
            total
            + weights.alpha * parts["alpha"]
            + weights.depth_offset * parts["depth_offset"]
            + weights.depth_offset_face * parts["depth_offset_face"]
        )
        if landmarks is not None:
            parts["landmarks"] = landmarks
            total = total + weights.landmarks * landmarks
        if self.perceptual:
            parts["perceptual"] = self.perceptual(images, target)
            total = total + weights.perceptual * parts["perceptual"]
        return {"total": total, **parts}

    def compile_networks(self, backend: str = "inductor") -> None:
        """Compile the image networks and the photometric loss with torch.compile, at their first use.

        The point networks are left out: their sizes change from step to step, and compiling for dynamic sizes pays off
        after 10,000 steps only (docs/experiments.md).
        """
        predictor = self.predictor
        for network in (predictor.geometry_refinement.unet, predictor.identity_encoder, predictor.inpainting.unet):
            network.compile(dynamic=False, backend=backend)
        self._photometric = torch.compile(photometric, dynamic=False, backend=backend)

    def _image_parts(self, compared: Mapping[str, tuple[Image, Image]], target: TargetBatch) -> dict[str, Tensor]:
        images, expected = zip(*compared.values(), strict=True)
        losses = self._photometric(
            torch.cat(images),
            torch.cat(expected),
            target.valid.repeat(len(images), 1, 1, 1),
            self.weights.ssim,
            self.weights.mse,
        )
        return dict(zip(compared, losses.reshape(len(images), -1).mean(dim=1).unbind(), strict=True))

    def _difference_around(self, compared: Mapping[str, tuple[Image, Image]], target: TargetBatch) -> Tensor:
        """Sum the L1 around eyes and mouth over the rendered images."""
        parts = [self.get_buffer(name) for name in self._part_names]
        mask = mask_around(target.landmarks_px, parts, *target.image.shape[-2:]) * target.valid
        area = 3 * mask.sum(dim=(1, 2, 3)).clamp(min=1)
        sums = [((image - expected).abs() * mask).sum(dim=(1, 2, 3)) for image, expected in compared.values()]
        return (torch.stack(sums) / area).mean(dim=1).sum()

    def _on_face(self, source: SourceBatch, cells: Float[Tensor, "batch 1 rows columns"]) -> Tensor:
        """Return a mask of the source's cells that lie within the face's oval."""
        oval = source.landmarks.index_select(1, self.oval)
        contour = project(transform_points(source.head_to_camera, oval), source.intrinsics)
        rows, columns = cells.shape[2:]
        stride = source.depth.shape[-1] / columns
        return inside_contour(contour / stride, rows, columns).unsqueeze(1)

    @staticmethod
    def _alpha_difference(images: DrivenImages, target: TargetBatch) -> Tensor:
        """Sum the L1 between the alphas of the renders and the head mask."""
        alphas = [alpha for alpha in (images.head_alpha, images.coarse_alpha) if alpha is not None]
        return torch.stack([((alpha - target.head_mask).abs() * target.valid).mean() for alpha in alphas]).sum()

    def landmark_distance(self, tracks: TrackBatch) -> Tensor:
        """Return the mean distance (cm) between the deformed landmarks of the sources and those of the targets.

        Ours, not the paper's: the tracks hold the motion of every landmark, which teaches the deformation the effect
        of expressions long before the renders could, and without images.
        """
        source, change = tracks.source_landmarks, tracks.target_expression - tracks.source_expression
        deformed = source + self.predictor.deformation(source, source, change)
        distance: Tensor = (deformed - tracks.target_landmarks).norm(dim=-1)
        return distance.mean()
