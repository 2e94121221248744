"""The MGGTalk predictor, photo to talking head.

reconstruct:  source frame -> refined visible points, their mirror images, identity features             (once)
animate:      + expression -> displaced points -> visible Gaussians -> symmetric Gaussians -> children     (each frame)
compose:      rendered head + torso-background of the source -> final image                                (each frame)
"""

import dataclasses
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from mggtalk.models.batches import DriverBatch, SourceBatch
from mggtalk.models.config import ModelConfig
from mggtalk.models.networks.decoders import (
    Densification,
    IdentityEncoder,
    RawGaussians,
    SymmetricDecoder,
    VisibleDecoder,
)
from mggtalk.models.networks.deformation import BoundPoints, DeformationField, Displacement
from mggtalk.models.networks.geometry_refinement import (
    GeometryRefinement,
    HeadPoints,
    covered_cells,
    lift_points,
    select_mirrored_points,
)
from mggtalk.models.networks.inpainting import Inpainting, torso_background
from mggtalk.models.networks.layers import cast_weights_bf16, uses_bf16
from mggtalk.models.points.async_nonzero import AsyncNonzero, AsyncScalar
from mggtalk.models.points.condition_masks import EyeMouthMasks
from mggtalk.models.points.packed_to_padded import PackedToPadded
from mggtalk.rendering.gaussians import Gaussians
from mggtalk.rendering.rasterize import rasterize


@dataclass(frozen=True, slots=True, eq=False)
class Avatar:
    """A batch of reconstructed heads, ready to be driven.

    Attributes:
        mirror_index: index of the visible point whose mirror image each mirrored point is.
        packing, bound: of all points, first the visible, then the mirrored.
        features: the identity feature map F. background: see `torso_background`.
        valid: where the crop lies in the frame.
        landmarks: of the source, in head space, cm. depth_offset: of geometry refinement, cm.
    """

    visible: HeadPoints
    mirrored: HeadPoints
    mirror_index: Int64[Tensor, " num_mirrored"]
    packing: PackedToPadded
    bound: BoundPoints
    features: Float[Tensor, "batch feature_channels rows columns"]
    background: Float[Tensor, "batch 4 height width"]
    valid: Float[Tensor, "batch 1 height width"]
    expression: Float[Tensor, "batch num_coefficients"]
    landmarks: Float[Tensor, "batch num_landmarks 3"]
    depth_offset: Float[Tensor, "batch 1 rows columns"]

    @property
    def num_heads(self) -> int:
        """Number of heads in the batch."""
        return len(self.expression)


@dataclass(frozen=True, slots=True, eq=False)
class AnimatedHead:
    """A batch of driven heads before densification.

    Attributes:
        visible, mirrored: the Gaussians of visible and of mirrored points. displacements: of both.
        packing: of all points, first the visible.
    """

    visible: RawGaussians
    mirrored: RawGaussians
    displacements: tuple[Displacement, Displacement]
    packing: PackedToPadded

    @property
    def parents(self) -> Gaussians:
        """The Gaussians in head space, to be rendered."""
        return self.visible.concatenate(self.mirrored).activate(self.packing)


@dataclass(frozen=True, slots=True, eq=False)
class DrivenImages:
    """Images of a batch of driven heads, None if not requested; the renders are premultiplied and over black.

    Attributes:
        image: the final image. head, head_alpha: the children, or the parents where there is no densification.
        coarse, coarse_alpha: the parents.
    """

    image: Float[Tensor, "batch 3 height width"] | None
    head: Float[Tensor, "batch 3 height width"] | None
    head_alpha: Float[Tensor, "batch 1 height width"] | None
    coarse: Float[Tensor, "batch 3 height width"]
    coarse_alpha: Float[Tensor, "batch 1 height width"]


class TalkingHeadPredictor(nn.Module):
    """Composes all networks of the paper's data flow."""

    def __init__(self, settings: ModelConfig) -> None:
        super().__init__()
        self.settings = settings
        self.geometry_refinement = GeometryRefinement(settings)
        self.identity_encoder = IdentityEncoder(settings)
        self.deformation = DeformationField(settings)
        self.visible_decoder = VisibleDecoder(settings)
        self.symmetric_decoder = SymmetricDecoder(settings)
        self.densification = Densification(settings)
        self.condition_masks = EyeMouthMasks(settings.landmark_set)
        self.inpainting = Inpainting(settings)

    def for_inference(self, device: torch.device | str) -> Self:
        """Move to `device`, end training for good, and return itself.

        On CUDA, where networks compute in bfloat16, the weights are rounded to it: store them before.
        """
        self.to(device).eval().requires_grad_(False)
        if uses_bf16(torch.device(device)):
            cast_weights_bf16(self)
        return self

    @property
    def geometry(self) -> tuple[nn.Module, ...]:
        """The networks that decide the position of points, not their appearance."""
        return self.geometry_refinement, self.deformation

    def set_trained(self, *, coarse: bool, geometry: bool = True) -> None:
        """Enable gradients for the networks that the loss reaches, without those that the settings leave out.

        Args:
            coarse: only parents are rendered, so the loss reaches neither densification nor inpainting.
            geometry: train `geometry` as well.
        """
        settings = self.settings
        reached = {
            self.geometry_refinement: settings.geometry_refinement and geometry,
            self.deformation: geometry,
            self.symmetric_decoder: settings.symmetry and settings.symmetric_decoder,
            self.densification: settings.densification and not coarse,
            self.inpainting: not coarse,
        }
        for network, is_reached in reached.items():
            network.requires_grad_(is_reached)

    def reconstruct(self, source: SourceBatch) -> Avatar:
        """Return the heads in a batch of source frames."""
        settings, num_heads = self.settings, len(source.depth)
        # Work that needs no count is launched while a count is being copied; see `async_nonzero`.
        covered = covered_cells(source, settings.point_stride)
        offset = self.geometry_refinement(source)
        if not settings.geometry_refinement:
            offset = torch.zeros_like(offset)
        visible = lift_points(source, offset, settings.point_stride, covered)
        features = self.identity_encoder(source)
        selected = AsyncNonzero(self._is_mirrored(visible, source, offset))
        of_heads = covered.mask.sum(dim=(1, 2)).index_add(0, visible.batch_index, selected.mask.long())
        max_points = AsyncScalar(of_heads.max())
        background = torso_background(source)
        mirror_index = selected.indices()[:, 0]
        mirrored = visible.mirrored(mirror_index)
        packing = PackedToPadded.of(torch.cat((visible.batch_index, mirrored.batch_index)), num_heads, max_points)
        bound = self.deformation.bind(
            torch.cat((visible.positions, mirrored.positions)),
            torch.cat((visible.child_offsets, mirrored.child_offsets)),
            torch.cat((visible.pixel_footprint, mirrored.pixel_footprint)),
            packing,
            source.landmarks,
        )
        return Avatar(
            visible=visible,
            mirrored=mirrored,
            mirror_index=mirror_index,
            packing=packing,
            bound=bound,
            features=features,
            background=background,
            valid=source.valid,
            expression=source.expression,
            landmarks=source.landmarks,
            depth_offset=offset,
        )

    def animate(self, avatar: Avatar, expression: Float[Tensor, "batch num_coefficients"]) -> AnimatedHead:
        """Return the heads under an expression."""
        counts = len(avatar.visible.batch_index), len(avatar.mirrored.batch_index)
        displacement = self.deformation.displace(avatar.bound, expression - avatar.expression)
        of_visible, of_mirrored = displacement.split(*counts)
        expressions = _expressions(avatar, expression)[avatar.packing.batch_index].split(counts)
        visible: RawGaussians = self.visible_decoder(avatar.visible, of_visible, avatar.features, expressions[0])
        inputs = avatar.mirrored, of_mirrored, avatar.features, expressions[1]
        if self.settings.symmetric_decoder:
            mirrored: RawGaussians = self.symmetric_decoder(*inputs, visible.select(avatar.mirror_index))
        else:
            mirrored = self.visible_decoder(*inputs)
        return AnimatedHead(visible, mirrored, (of_visible, of_mirrored), avatar.packing)

    def densify(self, avatar: Avatar, driven: AnimatedHead) -> Gaussians:
        """Return the children of driven heads, in head space; the parents where there is no densification."""
        if not self.settings.densification:
            return driven.parents
        visible: RawGaussians = self.densification(driven.visible, avatar.visible, driven.displacements[0])
        mirrored = self.densification(driven.mirrored, avatar.mirrored, driven.displacements[1])
        return visible.concatenate(mirrored).activate(driven.packing.split_each(self.densification.num_children))

    def compose(
        self, avatar: Avatar, driven: AnimatedHead, driver: DriverBatch
    ) -> Float[Tensor, "batch 3 height width"]:
        """Return the final images of driven heads before the driver's camera."""
        condition_masks = self.render_condition_masks(avatar, driver)
        rendered, alpha = self.render(self.densify(avatar, driven), driver)
        return self.inpaint(avatar, rendered, alpha, condition_masks, driver.expression)

    def render(
        self, gaussians: Gaussians, driver: DriverBatch
    ) -> tuple[Float[Tensor, "batch channels height width"], Float[Tensor, "batch 1 height width"]]:
        """Return colours and features over black, premultiplied, and alpha before the driver's camera."""
        side = self.settings.resolution
        rendering = rasterize(gaussians, driver.head_to_camera, driver.intrinsics, side, side)
        return rendering.color.permute(0, 3, 1, 2), rendering.alpha.unsqueeze(1)

    def render_condition_masks(self, avatar: Avatar, driver: DriverBatch) -> Float[Tensor, "batch 3 height width"]:
        """Render masks of eyes, irises and mouth under the driver's expression, before its camera."""
        side = self.settings.resolution
        landmarks = self.deformation.displaced_landmarks(avatar.landmarks, driver.expression - avatar.expression)
        planes: Tensor = self.condition_masks(landmarks, driver, side, side)
        return planes

    def inpaint(
        self,
        avatar: Avatar,
        rendered: Float[Tensor, "batch channels height width"],
        alpha: Float[Tensor, "batch 1 height width"],
        condition_masks: Float[Tensor, "batch 3 height width"],
        expression: Float[Tensor, "batch num_coefficients"],
    ) -> Float[Tensor, "batch 3 height width"]:
        """Return the final images under an expression, from `render` and `render_condition_masks`."""
        expressions = _expressions(avatar, expression)
        image: Tensor = self.inpainting(rendered, alpha, avatar.background, condition_masks, expressions)
        return image * avatar.valid

    def forward(self, source: SourceBatch, driver: DriverBatch, *, coarse: bool = False) -> tuple[Avatar, DrivenImages]:
        """Return the reconstructed heads and their images: the forward pass of a training step.

        Args:
            coarse: render the parents only.
        """
        avatar = self.reconstruct(source)
        driven = self.animate(avatar, driver.expression)
        if coarse:
            return avatar, DrivenImages(None, None, None, *self.render(_colored(driven.parents), driver))
        # Both renders wait for a count of gsplat's: work that does not need them is launched before, inpainting after.
        children, condition_masks = self.densify(avatar, driven), self.render_condition_masks(avatar, driver)
        parents = _colored(driven.parents) if self.settings.densification else None
        rendered, alpha = self.render(children, driver)
        head = rendered[:, :3]
        before = self.render(parents, driver) if parents is not None else (head, alpha)
        image = self.inpaint(avatar, rendered, alpha, condition_masks, driver.expression)
        return avatar, DrivenImages(image, head, alpha, *before)

    def _is_mirrored(
        self, visible: HeadPoints, source: SourceBatch, offset: Float[Tensor, "batch 1 rows columns"]
    ) -> Bool[Tensor, " num_visible"]:
        if not (self.settings.symmetry and self.settings.voxel_filter):
            return torch.full_like(visible.batch_index, self.settings.symmetry, dtype=torch.bool)
        return select_mirrored_points(visible, source, offset, self.settings.voxel_size_cm)


def _expressions(
    avatar: Avatar, expression: Float[Tensor, "batch num_coefficients"]
) -> Float[Tensor, "batch 2*num_coefficients"]:
    """Return the expressions of the sources, then the difference of `expression` from them."""
    return torch.cat((avatar.expression, expression - avatar.expression), dim=1)


def _colored(gaussians: Gaussians) -> Gaussians:
    """Return the same Gaussians in their colours alone, without features."""
    return dataclasses.replace(gaussians, colors=gaussians.colors[..., :3])
