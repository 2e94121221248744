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
from mggtalk.models.deformation import Motion
from mggtalk.models.head_points import HeadPoints
from mggtalk.models.layers import ConvBlock, Perceptron, PositionalEncoding, ZeroLinear, mixed_precision
from mggtalk.rendering.gaussians import rotation_matrices

_ATTRIBUTES = 11
"""Offset 3, log scale 3, rotation 4 (wxyz), opacity 1; colour is predicted apart."""
_FLATNESS = 0.5
"""Thickness of a Gaussian along the normal over its width."""
_OPACITY_LOGIT = 3.0
_OPPOSITE = 1e-6
"""Below this 1 + z.n is rounding, and the normal within 0.1 degrees of -z."""
_STRETCH = (0.25, 3.0)
"""A lid that closes leaves next to nothing of the skin over the eye; more is noise of the landmarks."""
_WIDE_ENOUGH, _LEAST_ACROSS = 0.5, 0.125
"""Cosines of the surface to the line of sight: discs as wide as the pixels cover it down to the first, and are four
times as wide at the second. Beyond lies the outline, and normals are noise."""
_HARDLY_TILTED = 0.1
"""Sine of the angle up to which it hardly matters where the surface recedes."""
_SPREAD = 0.55
"""Standard deviation of a Gaussian over the spacing of its neighbours; the rasteriser's own blur closes the gaps."""


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
        self.register_buffer("disc", torch.tensor([_SPREAD, _SPREAD, _SPREAD * _FLATNESS]).log(), persistent=False)
        self.encoding = PositionalEncoding(octaves=3)
        described = settings.feature_channels + self.encoding.channels + 11 + 2 * settings.expression_size
        self.body = Perceptron(described, hidden, layers=3)
        self.attributes = ZeroLinear(hidden, _ATTRIBUTES)
        self.color = ZeroLinear(hidden, 3 + settings.rendered_features)
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
        width = torch.log(points.spacing * self.stride).unsqueeze(-1) + self.disc + log_gap(rotations, points.sight)
        start = RawGaussians(
            means=moved,
            log_scales=width + log_stretch(rotations, motion.gradient),
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
        self.body = Perceptron(described, hidden, layers=3)
        self.attributes = ZeroLinear(hidden, _ATTRIBUTES)
        self.color = ZeroLinear(hidden, channels)

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
        self.body = Perceptron(hidden + 3 * self.num_children, hidden, layers=2)
        self.attributes = ZeroLinear(hidden, self.num_children * _ATTRIBUTES)
        self.channels = 3 + settings.rendered_features
        self.color = ZeroLinear(hidden, self.num_children * self.channels)

    def forward(self, parents: RawGaussians, points: HeadPoints, motion: Motion) -> RawGaussians:
        """Return the children, those of one parent next to each other."""
        count, children = len(points.head), self.num_children
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


def log_stretch(
    rotations: Float[Tensor, "num_points 4"], gradient: Float[Tensor, "num_points 3 3"]
) -> Float[Tensor, "num_points 3"]:
    """Return the logarithm of how much longer a displacement with this gradient makes the axes of each rotation."""
    axes = rotation_matrices(rotations)
    length: Tensor = (axes + gradient @ axes).norm(dim=1)
    return length.clamp(*_STRETCH).log()


def log_gap(
    rotations: Float[Tensor, "num_points 4"], sight: Float[Tensor, "num_points 3"]
) -> Float[Tensor, "num_points 3"]:
    """Return the logarithm of how much wider discs must be along their axes where the surface recedes.

    What is seen edge-on has few pixels, far apart: discs as wide as the pixels leave gaps when seen from elsewhere.
    """
    along = (rotation_matrices(rotations) * sight.unsqueeze(-1)).sum(dim=1)[:, :2]
    across = (1 - along.square()).clamp(min=_LEAST_ACROSS**2, max=_WIDE_ENOUGH**2).sqrt()
    return functional.pad((_WIDE_ENOUGH / across).log(), (0, 1))


def rotation_along(
    normals: Float[Tensor, "num_points 3"], sight: Float[Tensor, "num_points 3"]
) -> Float[Tensor, "num_points 4"]:
    """Return rotations (wxyz) of the z axis onto each normal and the x axis towards where the surface recedes."""
    shortest = rotation_to_normal(normals)
    axes = rotation_matrices(shortest)
    # Where the surface faces the camera nothing recedes, and x stays where the shortest rotation leaves it.
    recedes = (axes * sight.unsqueeze(-1)).sum(dim=1)[:, :2]
    stays = _HARDLY_TILTED * (1 - recedes.square().sum(dim=1))
    angle = torch.atan2(recedes[:, 1], recedes[:, 0] + stays) / 2
    zero = torch.zeros_like(angle)
    return multiplied(shortest, torch.stack((angle.cos(), zero, zero, angle.sin()), dim=-1))


def multiplied(first: Float[Tensor, "*batch 4"], second: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """Return the quaternions (wxyz) of turning by `second` and then by `first`: Hamilton's product."""
    a, b, c, d = first.unbind(dim=-1)
    w, x, y, z = second.unbind(dim=-1)
    return torch.stack(
        (
            a * w - b * x - c * y - d * z,
            a * x + b * w + c * z - d * y,
            a * y - b * z + c * w + d * x,
            a * z + b * y - c * x + d * w,
        ),
        dim=-1,
    )


def rotation_to_normal(normals: Float[Tensor, "num_points 3"]) -> Float[Tensor, "num_points 4"]:
    """Return the shortest rotation (wxyz) of the z axis onto each normal; unknown normals (zero) give the identity.

    Source: half-angle quaternion between unit vectors, (1 + z.n, z x n), normalised.
    """
    x, y, z = normals.unbind(dim=-1)
    quaternion = torch.stack((1 + z, -y, x, torch.zeros_like(x)), dim=-1)
    # At n = -z the quaternion vanishes and the axis is arbitrary: x is as good as any.
    half_turn = torch.zeros_like(quaternion)
    half_turn.select(-1, 1).fill_(1.0)
    return functional.normalize(torch.where((1 + z < _OPPOSITE).unsqueeze(-1), half_turn, quaternion), dim=-1)


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
