"""Configuration of the stage `shards`."""

from typing import Literal

from pydantic import Field

from mggtalk.config import config


@config
class ShardsConfig:
    """Group `shards` of the params file."""

    head_parsing: Literal["selfie", "segformer"] = "selfie"
    """Backend of the head mask: `selfie` or `segformer`; see docs/models.md."""
    parsing_model: str = "face_parsing"
    """Network of `segformer`: a name that `mggtalk models list` shows, or the path of a folder."""
    depth: Literal["facemesh", "depth_anything"] = "facemesh"
    """Backend of depth and normals: `facemesh` or `depth_anything`; see docs/models.md."""
    depth_model: str = "depth_anything_v2_small"
    """Network of `depth_anything`: a name that `mggtalk models list` shows, or the path of a folder."""
    size: int = Field(256, ge=16)
    """Side of the stored crop in pixels, from 16."""
    crop_margin: float = Field(1.2, ge=1)
    """Side of the crop over that of the head's box, from 1."""
    geometry_stride: int = Field(8, ge=1)
    """Distance in frames between two that carry geometry, from which heads can be reconstructed."""
    surface_reach_cm: float = Field(1.0, gt=0)
    """Distance in cm over which a depth backend's normals are trusted; beyond it, its depth decides."""
    cloud_stride: int = Field(2, ge=1)
    """Distance in pixels, in both directions, between two that give a point of the cloud."""
    voxel_size_cm: float = Field(0.4, gt=0)
    """Edge in cm of the voxels in which mirrored points give way to visible ones."""
    min_head_fraction: float = Field(0.02, ge=0, le=1)
    """Least fraction of the crop that a clip's median head mask covers; clips below it are rejected."""
    jpeg_quality: int = Field(95, ge=1, le=100)
    """JPEG quality of the stored images, 1 to 100."""
    target_shard_mb: float = Field(64.0, ge=0)
    """Largest size of a shard in MB; one that would grow beyond it splits."""
