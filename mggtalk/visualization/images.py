"""Pictures for the report: depth as colours, a symmetric cloud from three sides, panels, PNG and JPEG."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from mggtalk.records import HeadCloud
from mggtalk.visualization.point_raster import nearest_points

# Blue and orange stand apart for colour-blind readers too, on light and on dark pages.
VISIBLE_COLOR = (74, 144, 217)
MIRRORED_COLOR = (232, 131, 58)
UNKNOWN_COLOR = (128, 128, 128)
CLOUD_VIEWS_DEG = (0.0, 45.0, 90.0)
AMBIENT = 0.35
SPLAT_RADIUS_PX = 1.5  # points are three pixels wide, so that surfaces close
# The nearest and farthest percent of a depth map are noise at the silhouette: they would eat up the colours.
DEPTH_PERCENTILES = (1.0, 99.0)


def depth_range(depth: Float[np.ndarray, "height width"]) -> tuple[float, float]:
    """Return the nearest and the farthest depth that `draw_depth` tells apart, cm; 0 and 0 where none is known."""
    known = depth > 0
    near, far = np.percentile(depth[known], DEPTH_PERCENTILES) if known.any() else (0.0, 0.0)
    return float(near), float(far)


def draw_depth(
    depth: Float[np.ndarray, "height width"], unknown: tuple[int, int, int] = UNKNOWN_COLOR
) -> UInt8[np.ndarray, "height width 3"]:
    """Return `depth` (cm, 0 where unknown) as colours: near is bright, far is dark, unknown is grey."""
    known = depth > 0
    picture = np.full((*depth.shape, 3), unknown, np.uint8)
    near, far = depth_range(depth)
    nearness = np.clip((far - depth) / max(far - near, 1e-6), 0.0, 1.0)
    colors = cv2.applyColorMap((nearness * 255).round().astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
    picture[known] = colors[known]
    return picture


def draw_cloud(cloud: HeadCloud, size: int) -> UInt8[np.ndarray, "height width 4"]:
    """Return the cloud as seen from the front, from 45 degrees and from its left side, next to each other.

    Visible points are blue, mirrored ones orange, lit from the viewer; the background is transparent. The nearest point
    wins a pixel.
    """
    centre = cloud.positions.mean(axis=0) if len(cloud.positions) else np.zeros(3)
    extent = float(np.linalg.norm(cloud.positions - centre, axis=1).max()) if len(cloud.positions) else 1.0
    views = [_draw_view(cloud, centre, size * 0.48 / max(extent, 1e-6), angle, size) for angle in CLOUD_VIEWS_DEG]
    return np.concatenate(views, axis=1)


def rescaled(image: UInt8[np.ndarray, "height width 3"], size: int) -> UInt8[np.ndarray, "size size 3"]:
    """Return a square picture at `size` pixels: cubic where it grows, by areas where it shrinks."""
    if image.shape[:2] == (size, size):
        return image
    interpolation = cv2.INTER_CUBIC if image.shape[0] < size else cv2.INTER_AREA
    return np.asarray(cv2.resize(image, (size, size), interpolation=interpolation), np.uint8)


def tile(
    panels: Mapping[str, UInt8[np.ndarray, "height width 3"]], names: Sequence[str], size: int
) -> UInt8[np.ndarray, "new_height new_width 3"]:
    """Return the named panels in rows of two, each at `size` pixels."""
    squares = [rescaled(panels[name], size) for name in names]
    rows = [np.concatenate(squares[start : start + 2], axis=1) for start in range(0, len(squares), 2)]
    return np.concatenate(rows, axis=0)


def encode_png(image: UInt8[np.ndarray, "height width channels"]) -> bytes:
    """Return an RGB or RGBA picture as PNG; the same picture gives the same bytes."""
    order = cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR
    done, data = cv2.imencode(".png", cv2.cvtColor(image, order), [cv2.IMWRITE_PNG_COMPRESSION, 6])
    if not done:
        raise ValueError(f"cannot encode a picture of shape {image.shape} as PNG")
    return bytes(data)


def encode_jpeg(image: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """Return an RGB picture as JPEG, in which small text stays sharp."""
    options = [cv2.IMWRITE_JPEG_QUALITY, 85, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise ValueError(f"cannot encode a picture of shape {image.shape} as JPEG")
    return bytes(data)


def _draw_view(
    cloud: HeadCloud, centre: Float[np.ndarray, "3"], scale: float, angle_deg: float, size: int
) -> UInt8[np.ndarray, "size size 4"]:
    """Splat the cloud orthographically, seen from `angle_deg` to the person's left of the face's axis."""
    angle = np.deg2rad(angle_deg)
    # Rows: right, up and towards the viewer, in head space. The viewer sees the person's left on his right.
    axes = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
    seen = (cloud.positions - centre) @ axes.T
    facing = np.clip(cloud.normals @ axes[2], 0.0, 1.0)
    mirrored = (cloud.twin >= 0)[:, None]
    colors = np.where(mirrored, MIRRORED_COLOR, VISIBLE_COLOR) * (AMBIENT + (1 - AMBIENT) * facing[:, None])
    pixels = size / 2 + seen[:, :2] * (scale, -scale)
    picture = np.zeros((size, size, 4), np.uint8)
    points = nearest_points(pixels, -seen[:, 2], SPLAT_RADIUS_PX, size)
    drawn = points >= 0
    picture[drawn, :3] = colors[points[drawn]].round().astype(np.uint8)
    picture[drawn, 3] = 255
    return picture
