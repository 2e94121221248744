"""Configuration of the predictor."""

from typing import Literal

from pydantic import Field

from mggtalk.config import config

NORM_GROUPS = 4
"""Groups of channels that are normalised together."""
SHUFFLE = 2
"""The inpainting network folds blocks of so many pixels squared into channels: full resolution takes most time."""


@config
class ModelConfig:
    """Group `train.model` of the params file; written beside the weights. The last five are the paper's ablations."""

    resolution: int = Field(128, ge=1)
    """Side in pixels of source, target and output images."""
    point_stride: int = Field(2, ge=1)
    """Side in source pixels of the square that a visible parent point stands for; it spawns a child for each pixel."""
    voxel_size_cm: float = Field(0.5, gt=0)
    """Edge in cm of the voxel filter's voxels; about the spacing of parent points, or larger."""
    expression_size: int = Field(52, ge=1)
    """Number of expression coefficients in the shards."""
    landmark_set: Literal["mediapipe_478", "ibug_68"] = "mediapipe_478"
    """Landmarks in the shards: `mediapipe_478` or `ibug_68`."""
    unet_channels: int = Field(16, ge=1)
    """Width of the convolutional networks at their finest scale; a multiple of 4."""
    unet_levels: int = Field(4, ge=2)
    """Number of scales of the convolutional networks, from 2."""
    feature_channels: int = Field(32, ge=1)
    """Channels of the identity feature map; a multiple of 4."""
    hidden_channels: int = Field(64, ge=1)
    """Width of the point networks."""
    max_depth_offset_cm: float = Field(1.0, ge=0)
    """Farthest in cm that geometry refinement moves a point along its ray."""
    max_displacement_cm: float = Field(4.0, gt=0)
    """Farthest in cm that the deformation moves a point; jaws drop by 4."""
    rendered_features: int = Field(4, ge=0)
    """Channels that Gaussians carry beside their colour, for the inpainting network."""
    geometry_refinement: bool = True
    """Offset the depth of the source; without: the depth of the shards."""
    symmetry: bool = True
    """Add mirrored points; without: visible points only."""
    voxel_filter: bool = True
    """Drop mirrored points beside visible ones; without: mirror every visible point."""
    symmetric_decoder: bool = True
    """Decode mirrored points by a network of their own; without: as if they were visible."""
    densification: bool = True
    """Render the children of the points; without: the parents."""

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
