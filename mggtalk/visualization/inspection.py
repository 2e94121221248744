"""Draws what the stage `shards` made of a source frame, for `mggtalk inspect` and for the report."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import UInt8

from mggtalk.errors import ShardError
from mggtalk.geometry.head.head_pose import rotation_angles
from mggtalk.geometry.head.landmark_sets import landmark_set
from mggtalk.shards.reader import Shards
from mggtalk.visualization.figure import draw_figure
from mggtalk.visualization.head_panels import residual_panel, source_view_panel, view_panel
from mggtalk.visualization.images import encode_jpeg
from mggtalk.visualization.panels import (
    background_panel,
    crop_panel,
    depth_panel,
    landmarks_panel,
    mask_panel,
    normals_panel,
    relief_panel,
)

PANEL_SIZE = 360
COLUMNS = 4
SIDE_VIEW_DEG = 60.0


def draw_inspection(
    shards: Shards, clip_id: str, frame: int, panel_size: int = PANEL_SIZE
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw a frame that has geometry.

    Raises:
        ShardError: no such clip, the frame has no geometry, or a member is damaged. IndexError: no such frame.
    """
    source, cloud = shards.source_frame(clip_id, frame), shards.cloud(clip_id, frame)
    meta = shards.meta(clip_id, frame)
    landmarks, head = landmark_set(meta.landmark_set), source.frame
    panels = [
        crop_panel(head, panel_size),
        landmarks_panel(head, landmarks, panel_size),
        mask_panel(head, panel_size),
        background_panel(source, panel_size),
        depth_panel(source, panel_size),
        normals_panel(source, panel_size),
        relief_panel(source, panel_size),
        residual_panel(head, landmarks, panel_size),
        source_view_panel(head, cloud, panel_size),
        view_panel(cloud, 0.0, "Cloud from the front", panel_size),
        view_panel(cloud, -SIDE_VIEW_DEG, f"Cloud from the person's right, {SIDE_VIEW_DEG:g}°", panel_size),
        view_panel(cloud, SIDE_VIEW_DEG, f"Cloud from the person's left, {SIDE_VIEW_DEG:g}°", panel_size),
    ]
    yaw, pitch, roll = rotation_angles(head.head_to_camera[:3, :3])
    lines = [
        f"clip {clip_id} • split {meta.split} • yaw {yaw:+.1f}°, pitch {pitch:+.1f}°, roll {roll:+.1f}°",
        " • ".join([f"landmarks {meta.landmark_set}", *_backends(meta.perception)]),
    ]
    return draw_figure(f"{meta.name}, frame {frame} of {meta.clip_num_frames}", lines, panels, COLUMNS)


def inspection_jpeg(shards: Shards, clip_id: str, frame: int) -> bytes:
    """Draw an inspection as JPEG; raises as `draw_inspection`."""
    return encode_jpeg(draw_inspection(shards, clip_id, frame))


def widest_turned(shards: Shards, clip_id: str) -> int:
    """Return the source frame whose head is turned farthest to a side, which leaves most of it not visible.

    Raises:
        ShardError: no such clip, or none of its frames has geometry.
    """
    frames = shards.clip(clip_id).source_frames
    if not frames:
        raise ShardError(f"{clip_id}: no frame of the clip has geometry")
    angles = rotation_angles(shards.tracks(clip_id).head_to_camera[list(frames), :3, :3])
    return frames[int(np.abs(angles[:, 0]).argmax())]


def _backends(perception: Mapping[str, Any]) -> list[str]:
    """List the backends of the geometry: names and numbers of `meta.perception`, without the hashes of models."""
    return [f"{key} {value}" for key, value in perception.items() if not isinstance(value, Mapping)]
