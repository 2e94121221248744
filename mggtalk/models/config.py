"""Size of the predictor."""

from typing import Literal

from pydantic import Field

from mggtalk.params import config

NORM_GROUPS = 4
"""Groups of channels that are normalised together."""
SHUFFLE = 2
"""The inpainting network folds blocks of so many pixels squared into channels: full resolution takes most time."""


@config
class ModelConfig:
    """Group `train.model` of params.yaml; written beside the weights.

    Attributes:
        resolution: side in pixels of source, target and output images.
        point_stride: one visible parent point stands for `point_stride`^2 source pixels, and spawns as many children.
        voxel_size_cm: edge of the filter's voxels; at least about the distance between parent points.
        expression_size: number of expression coefficients of the shards. landmark_set: the name of their landmarks.
        unet_channels: width of the convolutional networks at their finest scale. unet_levels: number of their scales.
        feature_channels: of the identity feature map. hidden_channels: width of the point networks.
        max_depth_offset_cm: how far geometry refinement may move a point along its ray.
        max_displacement_cm: how far the deformation may move a point; jaws drop by 4 cm.
        rendered_features: channels that Gaussians carry beside their colour, for the inpainting network.
        geometry_refinement, symmetry, voxel_filter, symmetric_decoder, densification: the paper's ablations, each set
            to false: no depth offsets; visible points only; every visible point mirrored; mirrored points decoded as
            if they were visible; parents rendered instead of children.
    """

    resolution: int = Field(ge=1)
    point_stride: int = Field(ge=1)
    voxel_size_cm: float = Field(gt=0)
    expression_size: int = Field(ge=1)
    landmark_set: Literal["mediapipe_478", "ibug_68"] = Field()
    unet_channels: int = Field(ge=1)
    unet_levels: int = Field(ge=2)
    feature_channels: int = Field(ge=1)
    hidden_channels: int = Field(ge=1)
    max_depth_offset_cm: float = Field(ge=0)
    max_displacement_cm: float = Field(gt=0)
    rendered_features: int = Field(ge=0)
    geometry_refinement: bool = True
    symmetry: bool = True
    voxel_filter: bool = True
    symmetric_decoder: bool = True
    densification: bool = True

    def __post_init__(self) -> None:
        """Check that the resolution can be halved as often as the networks do, and channels split into their groups.

        Raises:
            ValueError: they cannot.
        """
        for name in ("unet_channels", "feature_channels"):
            channels = getattr(self, name)
            if channels < NORM_GROUPS or channels % NORM_GROUPS:
                raise ValueError(f"{name}: expected a positive multiple of {NORM_GROUPS}, got {channels}")
        step = 2 ** (self.unet_levels - 1) * max(self.point_stride, SHUFFLE)
        if self.resolution % step:
            raise ValueError(
                f"resolution {self.resolution}: expected a multiple of {step} for unet_levels {self.unet_levels} "
                f"and point_stride {self.point_stride}"
            )
