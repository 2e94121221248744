"""Gaussian decoders: visible points, mirrored points, and densification into children.

Every decoder predicts residuals on initial surfels that already look like the source: they have the colour of the pixel
and the distance of its neighbours as width, and lie on the surface. So little data suffices; the paper does not say how
its decoders are initialised.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from mggtalk.models.batches import SourceBatch
from mggtalk.models.config import ModelConfig
from mggtalk.models.networks.deformation import Displacement
from mggtalk.models.networks.geometry_refinement import HeadPoints
from mggtalk.models.networks.layers import MLP, ConvBlock, PositionalEncoding, ZeroInitLinear, mixed_precision
from mggtalk.models.points.gaussian_init import FLATNESS, SPREAD, log_gap, log_stretch, rotation_along
from mggtalk.models.points.packed_to_padded import PackedToPadded
from mggtalk.rendering.gaussians import Gaussians, rotation_matrices

_ATTRIBUTES = 11
"""Offset 3, log scale 3, rotation 4 (wxyz), opacity 1; colour is predicted apart."""
_OPACITY_LOGIT = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class RawGaussians:
    """Gaussians before activation, one list for a batch of heads, with the features that they were decoded from.

    Attributes:
        means: head space, cm, after deformation. log_scales: of cm. rotations: wxyz, any length.
        colors: RGB, nominally in [0, 1] (the losses keep them there, nothing clips them), then `rendered_features`.
        features: of the decoder's last hidden layer.
    """

    means: Float[Tensor, "num_points 3"]
    log_scales: Float[Tensor, "num_points 3"]
    rotations: Float[Tensor, "num_points 4"]
    opacity_logits: Float[Tensor, " num_points"]
    colors: Float[Tensor, "num_points channels"]
    features: Float[Tensor, "num_points hidden"]

    def select(self, indices: Int64[Tensor, " num_selected"]) -> "RawGaussians":
        """Return the Gaussians at `indices`."""
        return RawGaussians(*(getattr(self, name).index_select(0, indices) for name in RawGaussians.__slots__))

    def concatenate(self, other: "RawGaussians") -> "RawGaussians":
        """Return these Gaussians, then those of `other`."""
        pairs = ((getattr(self, name), getattr(other, name)) for name in RawGaussians.__slots__)
        return RawGaussians(*(torch.cat(pair) for pair in pairs))

    def activate(self, packing: PackedToPadded) -> Gaussians:
        """Return activated Gaussians, one row of the batch for each head, padded with opacity 0."""
        return Gaussians(
            means=packing.pad(self.means),
            rotations=packing.pad(self.rotations),
            scales=packing.pad(self.log_scales.exp()),
            opacities=packing.pad(self.opacity_logits.sigmoid()),
            colors=packing.pad(self.colors),
        )


class IdentityEncoder(nn.Module):
    """Convolutions on the head image -> a feature map with one cell per parent point, and one vector per head."""

    def __init__(self, settings: ModelConfig) -> None:
        super().__init__()
        features = settings.feature_channels
        self.stride = settings.point_stride
        self.enter = ConvBlock(4, settings.unet_channels)
        self.shrink = ConvBlock(settings.unet_channels, features, stride=settings.point_stride)
        self.context = ConvBlock(features, features, stride=2)
        self.widen = nn.Conv2d(features, features, 1)

    def forward(self, source: SourceBatch) -> Float[Tensor, "batch feature_channels rows columns"]:
        """Return the feature map F."""
        head = torch.cat((source.image * source.head_mask, source.head_mask), dim=1)
        with mixed_precision(head.device):
            fine = self.shrink(self.enter(head))
            coarse = self.widen(self.context(fine))
            mean = coarse.mean(dim=(2, 3), keepdim=True)
            features: Tensor = fine + functional.interpolate(coarse, scale_factor=2.0, mode="nearest") + mean
        return features


class VisibleDecoder(nn.Module):
    """Stage 1: P_d, F and the expressions -> G_d."""

    def __init__(self, settings: ModelConfig) -> None:
        super().__init__()
        hidden = settings.hidden_channels
        self.stride = settings.point_stride
        self.surfel: Tensor  # buffers, because a CUDA graph cannot make a tensor of numbers
        self.register_buffer("surfel", torch.tensor([SPREAD, SPREAD, SPREAD * FLATNESS]).log(), persistent=False)
        self.encoding = PositionalEncoding(octaves=3)
        described = settings.feature_channels + self.encoding.channels + 11 + 2 * settings.expression_size
        self.body = MLP(described, hidden, layers=3)
        self.attributes = ZeroInitLinear(hidden, _ATTRIBUTES)
        self.color = ZeroInitLinear(hidden, 3 + settings.rendered_features)
        self.rendered_features = settings.rendered_features

    def forward(
        self,
        points: HeadPoints,
        displacement: Displacement,
        features: Float[Tensor, "batch feature_channels rows columns"],
        expressions: Float[Tensor, "num_points 2*num_coefficients"],
    ) -> RawGaussians:
        """Return one Gaussian for each visible point.

        Args:
            expressions: of the source, then the expression delta: an opening lid reveals an eye that was not visible.
        """
        moved = points.positions + displacement.parents
        described = torch.cat(
            (
                points.features(features),
                self.encoding(moved),
                displacement.parents,
                points.normals,
                points.source_visibility,
                points.colors,
                expressions,
            ),
            dim=-1,
        )
        hidden = self.body(described)
        rotations = rotation_along(points.normals, points.view_dirs)
        axes = rotation_matrices(rotations)
        width = (
            torch.log(points.pixel_footprint * self.stride).unsqueeze(-1)
            + self.surfel
            + log_gap(axes, points.view_dirs)
        )
        start = RawGaussians(
            means=moved,
            log_scales=width + log_stretch(axes, displacement.gradient),
            rotations=rotations,
            opacity_logits=torch.full_like(points.pixel_footprint, _OPACITY_LOGIT),
            colors=functional.pad(points.colors, (0, self.rendered_features)),
            features=hidden,
        )
        return _refined(start, self.attributes(hidden), self.color(hidden), points.pixel_footprint * self.stride)


class SymmetricDecoder(nn.Module):
    """Stage 2: P_d^s, F, the expressions and the visible Gaussians -> G_d^s, initialised as their mirror images.

    The scale is the visible Gaussian's too, stretch included: faces stretch much alike on both sides.
    """

    def __init__(self, settings: ModelConfig) -> None:
        super().__init__()
        hidden = settings.hidden_channels
        self.stride = settings.point_stride
        self.reflection: Tensor
        self.register_buffer("reflection", torch.tensor([1.0, 1.0, -1.0, -1.0]), persistent=False)
        self.encoding = PositionalEncoding(octaves=3)
        channels = 3 + settings.rendered_features
        described = settings.feature_channels + self.encoding.channels + 8 + hidden + _ATTRIBUTES - 3 + channels
        described += 2 * settings.expression_size
        self.body = MLP(described, hidden, layers=3)
        self.attributes = ZeroInitLinear(hidden, _ATTRIBUTES)
        self.color = ZeroInitLinear(hidden, channels)

    def forward(
        self,
        points: HeadPoints,
        displacement: Displacement,
        features: Float[Tensor, "batch feature_channels rows columns"],
        expressions: Float[Tensor, "num_mirrored 2*num_coefficients"],
        visible: RawGaussians,
    ) -> RawGaussians:
        """Return one Gaussian for each mirrored point.

        Args:
            expressions: see `VisibleDecoder`.
            visible: the Gaussian whose mirror image each point is, in the order of `points`.
        """
        moved = points.positions + displacement.parents
        # Reflecting x turns the axis of a rotation (x, y, z) into (x, -y, -z).
        rotations = visible.rotations * self.reflection
        described = torch.cat(
            (
                points.features(features),
                self.encoding(moved),
                displacement.parents,
                points.normals,
                points.source_visibility,
                visible.features,
                visible.log_scales,
                rotations,
                visible.opacity_logits.unsqueeze(-1),
                visible.colors,
                expressions,
            ),
            dim=-1,
        )
        hidden = self.body(described)
        start = RawGaussians(moved, visible.log_scales, rotations, visible.opacity_logits, visible.colors, hidden)
        return _refined(start, self.attributes(hidden), self.color(hidden), points.pixel_footprint * self.stride)


class Densification(nn.Module):
    """Each parent spawns one child for every source pixel under it."""

    def __init__(self, settings: ModelConfig) -> None:
        super().__init__()
        hidden = settings.hidden_channels
        self.stride = settings.point_stride
        self.num_children = settings.point_stride**2
        self.body = MLP(hidden + 3 * self.num_children, hidden, layers=2)
        self.attributes = ZeroInitLinear(hidden, self.num_children * _ATTRIBUTES)
        self.channels = 3 + settings.rendered_features
        self.color = ZeroInitLinear(hidden, self.num_children * self.channels)

    def forward(self, parents: RawGaussians, points: HeadPoints, displacement: Displacement) -> RawGaussians:
        """Return the children, those of one parent next to each other."""
        count, children = len(points.batch_index), self.num_children
        detail = points.child_colors - points.colors.unsqueeze(1)
        hidden = self.body(torch.cat((parents.features, detail.flatten(1)), dim=-1))
        detail = functional.pad(detail, (0, self.channels - 3))
        start = RawGaussians(
            means=(parents.means.unsqueeze(1) + points.child_offsets + displacement.children).flatten(0, 1),
            log_scales=(parents.log_scales - math.log(self.stride)).repeat_interleave(children, 0),
            rotations=parents.rotations.repeat_interleave(children, 0),
            opacity_logits=parents.opacity_logits.repeat_interleave(children, 0),
            colors=(parents.colors.unsqueeze(1) + detail).flatten(0, 1),
            features=hidden.repeat_interleave(children, 0),
        )
        attributes = self.attributes(hidden).reshape(count * children, _ATTRIBUTES)
        color = self.color(hidden).reshape(count * children, self.channels)
        return _refined(start, attributes, color, points.pixel_footprint.repeat_interleave(children, 0))


def _refined(
    start: RawGaussians,
    attributes: Float[Tensor, "num_points attributes"],
    color: Float[Tensor, "num_points channels"],
    pixel_footprint: Float[Tensor, " num_points"],
) -> RawGaussians:
    """Return `start` with the predicted residuals; offsets are in units of `pixel_footprint`."""
    offset, log_scale, rotation, opacity = attributes.split((3, 3, 4, 1), dim=-1)
    return RawGaussians(
        means=start.means + offset * pixel_footprint.unsqueeze(-1),
        log_scales=start.log_scales + log_scale,
        rotations=start.rotations + rotation,
        opacity_logits=start.opacity_logits + opacity.squeeze(-1),
        colors=start.colors + color,
        features=start.features,
    )
