"""Gaussian decoders: visible points, their mirror twins' occluded side, and densification into children.

Every decoder predicts residuals on a start that already looks like the source: the colour of the pixel, the spacing of
the neighbours, a disc on the surface. So little data goes a long way; the paper does not say how its decoders start.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mggtalk.models.batches import SourceBatch
from mggtalk.models.config import ModelConfig
from mggtalk.models.networks.deformation import Motion
from mggtalk.models.networks.geometry_refinement import HeadPoints
from mggtalk.models.networks.layers import MLP, ConvBlock, PositionalEncoding, ZeroInitLinear, mixed_precision
from mggtalk.models.points.gaussian_init import FLATNESS, SPREAD, log_gap, log_stretch, rotation_along
from mggtalk.rendering.gaussians import rotation_matrices

_ATTRIBUTES = 11
"""Offset 3, log scale 3, rotation 4 (wxyz), opacity 1; colour is predicted apart."""
_OPACITY_LOGIT = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class RawGaussians:
    """Gaussians before activation, one list for a batch of heads, with the features that made them.

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
        self.disc: Tensor  # buffers, for a CUDA graph cannot make a tensor of numbers
        self.register_buffer("disc", torch.tensor([SPREAD, SPREAD, SPREAD * FLATNESS]).log(), persistent=False)
        self.encoding = PositionalEncoding(octaves=3)
        described = settings.feature_channels + self.encoding.channels + 11 + 2 * settings.expression_size
        self.body = MLP(described, hidden, layers=3)
        self.attributes = ZeroInitLinear(hidden, _ATTRIBUTES)
        self.color = ZeroInitLinear(hidden, 3 + settings.rendered_features)
        self.rendered_features = settings.rendered_features

    def forward(
        self,
        points: HeadPoints,
        motion: Motion,
        features: Float[Tensor, "batch feature_channels rows columns"],
        expressions: Float[Tensor, "num_points 2*num_coefficients"],
    ) -> RawGaussians:
        """Return one Gaussian for each visible point.

        Args:
            expressions: of the source, and of the driver less that: a lid that opens shows an eye that was not there.
        """
        moved = points.positions + motion.displacement
        described = torch.cat(
            (
                points.features(features),
                self.encoding(moved),
                motion.displacement,
                points.normals,
                points.evidence,
                points.colors,
                expressions,
            ),
            dim=-1,
        )
        hidden = self.body(described)
        rotations = rotation_along(points.normals, points.sight)
        axes = rotation_matrices(rotations)
        width = torch.log(points.spacing * self.stride).unsqueeze(-1) + self.disc + log_gap(axes, points.sight)
        start = RawGaussians(
            means=moved,
            log_scales=width + log_stretch(axes, motion.gradient),
            rotations=rotations,
            opacity_logits=torch.full_like(points.spacing, _OPACITY_LOGIT),
            colors=functional.pad(points.colors, (0, self.rendered_features)),
            features=hidden,
        )
        return _refined(start, self.attributes(hidden), self.color(hidden), points.spacing * self.stride)


class SymmetricDecoder(nn.Module):
    """Stage 2: P_d^s, F, the expressions and the mirror twin's Gaussian -> G_d^s; starts as the twin's mirror image.

    Its size too is the twin's, stretched as the twin is: faces stretch much alike on both sides.
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
        motion: Motion,
        features: Float[Tensor, "batch feature_channels rows columns"],
        expressions: Float[Tensor, "num_mirrored 2*num_coefficients"],
        twin: RawGaussians,
    ) -> RawGaussians:
        """Return one Gaussian for each mirrored point.

        Args:
            expressions: see `VisibleDecoder`.
            twin: the Gaussian of each point's visible twin, in the order of `points`.
        """
        moved = points.positions + motion.displacement
        # Reflecting x turns the axis of a rotation (x, y, z) into (x, -y, -z).
        rotations = twin.rotations * self.reflection
        described = torch.cat(
            (
                points.features(features),
                self.encoding(moved),
                motion.displacement,
                points.normals,
                points.evidence,
                twin.features,
                twin.log_scales,
                rotations,
                twin.opacity_logits.unsqueeze(-1),
                twin.colors,
                expressions,
            ),
            dim=-1,
        )
        hidden = self.body(described)
        start = RawGaussians(moved, twin.log_scales, rotations, twin.opacity_logits, twin.colors, hidden)
        return _refined(start, self.attributes(hidden), self.color(hidden), points.spacing * self.stride)


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

    def forward(self, parents: RawGaussians, points: HeadPoints, motion: Motion) -> RawGaussians:
        """Return the children, those of one parent next to each other."""
        count, children = len(points.batch_index), self.num_children
        detail = points.child_colors - points.colors.unsqueeze(1)
        hidden = self.body(torch.cat((parents.features, detail.flatten(1)), dim=-1))
        detail = functional.pad(detail, (0, self.channels - 3))
        start = RawGaussians(
            means=(parents.means.unsqueeze(1) + points.child_offsets + motion.of_children).flatten(0, 1),
            log_scales=(parents.log_scales - math.log(self.stride)).repeat_interleave(children, 0),
            rotations=parents.rotations.repeat_interleave(children, 0),
            opacity_logits=parents.opacity_logits.repeat_interleave(children, 0),
            colors=(parents.colors.unsqueeze(1) + detail).flatten(0, 1),
            features=hidden.repeat_interleave(children, 0),
        )
        attributes = self.attributes(hidden).reshape(count * children, _ATTRIBUTES)
        color = self.color(hidden).reshape(count * children, self.channels)
        return _refined(start, attributes, color, points.spacing.repeat_interleave(children, 0))


def _refined(
    start: RawGaussians,
    attributes: Float[Tensor, "num_points attributes"],
    color: Float[Tensor, "num_points channels"],
    spacing: Float[Tensor, " num_points"],
) -> RawGaussians:
    """Return `start` with the predicted residuals; offsets are in units of the spacing."""
    offset, log_scale, rotation, opacity = attributes.split((3, 3, 4, 1), dim=-1)
    return RawGaussians(
        means=start.means + offset * spacing.unsqueeze(-1),
        log_scales=start.log_scales + log_scale,
        rotations=start.rotations + rotation,
        opacity_logits=start.opacity_logits + opacity.squeeze(-1),
        colors=start.colors + color,
        features=start.features,
    )
