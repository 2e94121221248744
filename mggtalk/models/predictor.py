"""The MGGTalk predictor, photo to talking head.

reconstruct:  source frame -> refined visible points, their hidden mirror images, identity features      (once)
animate:      + expression -> displaced points -> visible Gaussians -> symmetric Gaussians -> children     (each frame)
compose:      rendered head + torso-background of the source -> final image                                (each frame)
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from mggtalk.models.batches import DriverBatch, SourceBatch
from mggtalk.models.config import ModelConfig
from mggtalk.models.decoders import Densification, IdentityEncoder, RawGaussians, SymmetricDecoder, VisibleDecoder
from mggtalk.models.deformation import DeformationField
from mggtalk.models.head_points import GeometryRefinement, HeadPoints, lift_points, mirror_hidden
from mggtalk.models.inpainting import Inpainting, torso_background
from mggtalk.rendering.gaussians import Gaussians
from mggtalk.rendering.rasterize import rasterize


@dataclass(frozen=True, slots=True, eq=False)
class Avatar:
    """A batch of reconstructed heads, ready to be driven.

    Attributes:
        twins: the number of the visible twin of every hidden point.
        features: the identity feature map F. background: see `torso_background`.
        valid: where the crop lies in the frame.
        depth_offset: what geometry refinement moved, cm.
    """

    visible: HeadPoints
    hidden: HeadPoints
    twins: Int64[Tensor, " num_hidden"]
    features: Float[Tensor, "batch feature_channels rows columns"]
    background: Float[Tensor, "batch 4 height width"]
    valid: Float[Tensor, "batch 1 height width"]
    expression: Float[Tensor, "batch num_coefficients"]
    depth_offset: Float[Tensor, "batch 1 rows columns"]

    @property
    def num_heads(self) -> int:
        """Number of heads in the batch."""
        return len(self.expression)


@dataclass(frozen=True, slots=True, eq=False)
class DrivenHead:
    """Gaussians of a batch of driven heads, before and after densification."""

    parents: Gaussians
    children: Gaussians


@dataclass(frozen=True, slots=True, eq=False)
class DrivenImages:
    """Images of a batch of driven heads; the renders are premultiplied and over black.

    Attributes:
        image: the final image. head, head_alpha: the children.
        coarse, coarse_alpha: the parents; None unless asked for.
    """

    image: Float[Tensor, "batch 3 height width"]
    head: Float[Tensor, "batch 3 height width"]
    head_alpha: Float[Tensor, "batch 1 height width"]
    coarse: Float[Tensor, "batch 3 height width"] | None
    coarse_alpha: Float[Tensor, "batch 1 height width"] | None


class TalkingHeadPredictor(nn.Module):
    """All networks of METHOD's data flow, composed."""

    def __init__(self, settings: ModelConfig) -> None:
        super().__init__()
        self.settings = settings
        self.geometry_refinement = GeometryRefinement(settings)
        self.identity_encoder = IdentityEncoder(settings)
        self.deformation = DeformationField(settings)
        self.visible_decoder = VisibleDecoder(settings)
        self.symmetric_decoder = SymmetricDecoder(settings)
        self.densification = Densification(settings)
        self.inpainting = Inpainting(settings)

    def reconstruct(self, source: SourceBatch) -> Avatar:
        """Return the heads in a batch of source frames."""
        offset = self.geometry_refinement(source)
        visible = lift_points(source, offset, self.settings.point_stride)
        twins = mirror_hidden(visible, source, offset, self.settings.voxel_size_cm)
        return Avatar(
            visible=visible,
            hidden=visible.mirrored(twins),
            twins=twins,
            features=self.identity_encoder(source),
            background=torso_background(source),
            valid=source.valid,
            expression=source.expression,
            depth_offset=offset,
        )

    def displace(
        self, avatar: Avatar, points: HeadPoints, expression: Float[Tensor, "batch num_coefficients"]
    ) -> Float[Tensor, "num_points 3"]:
        """Return how far `points` of the avatar move under `expression`, cm."""
        displacement: Tensor = self.deformation(points.positions, points.head, avatar.expression, expression)
        return displacement

    def animate(self, avatar: Avatar, expression: Float[Tensor, "batch num_coefficients"]) -> DrivenHead:
        """Return the Gaussians of the heads under an expression, in head space."""
        visible, hidden = avatar.visible, avatar.hidden
        shown: RawGaussians = self.visible_decoder(visible, self.displace(avatar, visible, expression), avatar.features)
        twin = _select(shown, avatar.twins)
        occluded: RawGaussians = self.symmetric_decoder(
            hidden, self.displace(avatar, hidden, expression), avatar.features, twin
        )
        head = torch.cat((visible.head, hidden.head))
        parents = _concatenate(shown, occluded)
        children = _concatenate(self.densification(shown, visible), self.densification(occluded, hidden))
        child_head = head.repeat_interleave(self.densification.num_children)
        return DrivenHead(_pack(parents, head, avatar.num_heads), _pack(children, child_head, avatar.num_heads))

    def compose(self, avatar: Avatar, driven: DrivenHead, driver: DriverBatch, *, coarse: bool = False) -> DrivenImages:
        """Return the images of driven heads before the driver's camera.

        Args:
            coarse: render the parents as well, for the loss before densification.
        """
        head, alpha = self._render(driven.children, driver)
        image: Tensor = self.inpainting(head, alpha, avatar.background) * avatar.valid
        coarse_head, coarse_alpha = self._render(driven.parents, driver) if coarse else (None, None)
        return DrivenImages(image, head, alpha, coarse_head, coarse_alpha)

    def forward(self, source: SourceBatch, driver: DriverBatch) -> tuple[Avatar, DrivenImages]:
        """Return the reconstructed heads and their images with both renders: the forward pass of a training step."""
        avatar = self.reconstruct(source)
        return avatar, self.compose(avatar, self.animate(avatar, driver.expression), driver, coarse=True)

    def _render(self, gaussians: Gaussians, driver: DriverBatch) -> tuple[Tensor, Tensor]:
        side = self.settings.resolution
        rendering = rasterize(gaussians, driver.head_to_camera, driver.intrinsics, side, side)
        return rendering.color.permute(0, 3, 1, 2), rendering.alpha.unsqueeze(1)


def _select(gaussians: RawGaussians, numbers: Int64[Tensor, " num_selected"]) -> RawGaussians:
    return RawGaussians(*(getattr(gaussians, name)[numbers] for name in RawGaussians.__slots__))


def _concatenate(first: RawGaussians, second: RawGaussians) -> RawGaussians:
    return RawGaussians(*(torch.cat((getattr(first, name), getattr(second, name))) for name in RawGaussians.__slots__))


def _pack(gaussians: RawGaussians, head: Int64[Tensor, " num_points"], num_heads: int) -> Gaussians:
    """Return activated Gaussians, one row of the batch for each head, padded with opacity 0."""
    order = torch.argsort(head, stable=True)
    counts = torch.bincount(head, minlength=num_heads)
    row = head[order]
    place = torch.arange(len(head), device=head.device) - (counts.cumsum(0) - counts)[row]
    width = int(counts.max()) if len(head) else 1

    def padded(values: Tensor) -> Tensor:
        packed = values.new_zeros((num_heads, width, *values.shape[1:]))
        return packed.index_put((row, place), values[order])

    return Gaussians(
        means=padded(gaussians.means),
        rotations=padded(gaussians.rotations),
        scales=padded(gaussians.log_scales.exp()),
        opacities=padded(gaussians.opacity_logits.sigmoid()),
        colors=padded(gaussians.colors),
    )
