"""Draws and encodes images for the report: depth as colours, a symmetric cloud from three sides, panels."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from mggtalk.records import HeadCloud
from mggtalk.visualization.point_raster import nearest_points

# Blue and orange are distinct for colour-blind readers too, on light and on dark pages.
VISIBLE_COLOR = (74, 144, 217)
MIRRORED_COLOR = (232, 131, 58)
UNKNOWN_COLOR = (128, 128, 128)
CLOUD_VIEWS_DEG = (0.0, 45.0, 90.0)
AMBIENT = 0.35
POINT_RADIUS_PX = 1.5  # points are three pixels wide, so that surfaces close
# The nearest and farthest percent of a depth map are noise at the silhouette, which would take up most colours.
DEPTH_PERCENTILES = (1.0, 99.0)


def depth_range(depth: Float[np.ndarray, "height width"]) -> tuple[float, float]:
    """Return the range of depth (cm) that `draw_depth` resolves; 0 and 0 if no depth is known."""
    known = depth > 0
    near, far = np.percentile(depth[known], DEPTH_PERCENTILES) if known.any() else (0.0, 0.0)
    return float(near), float(far)


def draw_depth(
    depth: Float[np.ndarray, "height width"], unknown: tuple[int, int, int] = UNKNOWN_COLOR
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw `depth` (cm, 0 where unknown) in colours: near is bright, far is dark, unknown is grey."""
    known = depth > 0
    image = np.full((*depth.shape, 3), unknown, np.uint8)
    near, far = depth_range(depth)
    nearness = np.clip((far - depth) / max(far - near, 1e-6), 0.0, 1.0)
    colors = cv2.applyColorMap((nearness * 255).round().astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
    image[known] = colors[known]
    return image


def draw_cloud(cloud: HeadCloud, size: int) -> UInt8[np.ndarray, "height width 4"]:
    """Draw the cloud from the front, from 45 degrees and from its left side, side by side.

    Visible points are blue and mirrored points orange, lit from the viewer; the background is transparent. The nearest
    point wins a pixel.
    """
    centre = cloud.positions.mean(axis=0) if len(cloud.positions) else np.zeros(3)
    extent = float(np.linalg.norm(cloud.positions - centre, axis=1).max()) if len(cloud.positions) else 1.0
    views = [_draw_view(cloud, centre, size * 0.48 / max(extent, 1e-6), angle, size) for angle in CLOUD_VIEWS_DEG]
    return np.concatenate(views, axis=1)


def rescaled(image: UInt8[np.ndarray, "height width 3"], size: int) -> UInt8[np.ndarray, "size size 3"]:
    """Rescale a square image to `size` pixels: cubic to enlarge, by area averaging to shrink."""
    if image.shape[:2] == (size, size):
        return image
    interpolation = cv2.INTER_CUBIC if image.shape[0] < size else cv2.INTER_AREA
    return np.asarray(cv2.resize(image, (size, size), interpolation=interpolation), np.uint8)


def tile(
    panels: Mapping[str, UInt8[np.ndarray, "height width 3"]], names: Sequence[str], size: int
) -> UInt8[np.ndarray, "new_height new_width 3"]:
    """Tile the named panels in rows of two, each at `size` pixels."""
    squares = [rescaled(panels[name], size) for name in names]
    rows = [np.concatenate(squares[start : start + 2], axis=1) for start in range(0, len(squares), 2)]
    return np.concatenate(rows, axis=0)


def encode_png(image: UInt8[np.ndarray, "height width channels"]) -> bytes:
    """Encode an RGB or RGBA image as PNG; the same image gives the same bytes."""
    order = cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR
    done, data = cv2.imencode(".png", cv2.cvtColor(image, order), [cv2.IMWRITE_PNG_COMPRESSION, 6])
    if not done:
        raise ValueError(f"cannot encode an image of shape {image.shape} as PNG")
    return bytes(data)


def encode_jpeg(image: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """Encode an RGB image as JPEG without chroma subsampling, which keeps small text sharp."""
    options = [cv2.IMWRITE_JPEG_QUALITY, 85, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise ValueError(f"cannot encode an image of shape {image.shape} as JPEG")
    return bytes(data)


def _draw_view(
    cloud: HeadCloud, centre: Float[np.ndarray, "3"], scale: float, angle_deg: float, size: int
) -> UInt8[np.ndarray, "size size 4"]:
    """Draw the cloud orthographically, seen from `angle_deg` to the person's left of the face's axis."""
    angle = np.deg2rad(angle_deg)
    # Rows: right, up and towards the viewer, in head space. The viewer sees the person's left on their right.
    axes = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
    seen = (cloud.positions - centre) @ axes.T
    facing = np.clip(cloud.normals @ axes[2], 0.0, 1.0)
    mirrored = (cloud.mirrored_of >= 0)[:, None]
    colors = np.where(mirrored, MIRRORED_COLOR, VISIBLE_COLOR) * (AMBIENT + (1 - AMBIENT) * facing[:, None])
    pixels = size / 2 + seen[:, :2] * (scale, -scale)
    image = np.zeros((size, size, 4), np.uint8)
    points = nearest_points(pixels, -seen[:, 2], POINT_RADIUS_PX, size)
    drawn = points >= 0
    image[drawn, :3] = colors[points[drawn]].round().astype(np.uint8)
    image[drawn, 3] = 255
    return image
