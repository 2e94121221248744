"""Draws the panels of an inspection that show the head in space: the symmetric cloud and the mirror residual."""

import cv2
import numpy as np
from jaxtyping import Float, Float64, Int64, UInt8
from scipy.spatial import cKDTree

from mggtalk.geometry.head.landmark_sets import LandmarkSet
from mggtalk.records import HeadCloud, HeadFrame
from mggtalk.visualization.figure import Color, Panel, Scale, Swatch
from mggtalk.visualization.images import AMBIENT, MIRRORED_COLOR, VISIBLE_COLOR
from mggtalk.visualization.panels import NEUTRAL, draw_crop, faded
from mggtalk.visualization.point_raster import nearest_points

RESIDUAL_SCALE_MM = 3.0
_OVERSAMPLING = 2  # points are drawn this many times larger, for soft edges
_COVERING = 0.75  # radius of discs over the spacing of their square grid: just above 1 / sqrt(2) leaves no gap
_WIDEST = 0.02  # largest radius of a point over the image size: a cloud of a few points is shown as dots
_STRAY_PERCENT = 0.2
_TRIANGLE_STEPS = 12  # points along a triangle's side: on a face of 300 px they lie closer than 3 px


def residual_panel(frame: HeadFrame, landmarks: LandmarkSet, size: int) -> Panel:
    """Draw the face mesh in the colours of its mirror residual, over the pale crop."""
    fine = size * _OVERSAMPLING
    residual = mirror_residual(frame.landmarks, landmarks)
    corners = landmarks.surface(frame.landmarks)[landmarks.triangles]
    values = np.linalg.norm(landmarks.surface(residual)[landmarks.triangles], axis=-1)
    barycentric = _barycentric_grid(_TRIANGLE_STEPS)
    pixels, depth = _projected((barycentric @ corners).reshape(-1, 3), frame, fine)
    points = nearest_points(pixels, depth, 2.0 * _OVERSAMPLING, fine)
    colormap = _residual_colors()
    level = np.clip((values @ barycentric.T).reshape(-1) / RESIDUAL_SCALE_MM, 0, 1) * (len(colormap) - 1)
    image = _painted(points, colormap[np.rint(level).astype(int)], faded(draw_crop(frame, size)))
    rigid = landmarks.alignment_weights > 0
    median = float(np.median(np.linalg.norm(residual[rigid], axis=-1)))
    scale = Scale(colormap, "0", f"{RESIDUAL_SCALE_MM:g} mm and more")
    return Panel("Mirror residual", [scale, f"median {median:.2f} mm"], image)


def mirror_residual(
    positions: Float[np.ndarray, "num_landmarks 3"], landmarks: LandmarkSet
) -> Float64[np.ndarray, "num_landmarks 3"]:
    """Return half the offset of each landmark from its mirrored counterpart, in mm; `positions` in head space, cm."""
    mirrored = positions[landmarks.mirror] * np.array([-1.0, 1.0, 1.0])
    return np.asarray(5.0 * (positions - mirrored), np.float64)


def source_view_panel(frame: HeadFrame, cloud: HeadCloud, size: int) -> Panel:
    """Draw the cloud in the source's camera: visible points in the grey of the image, mirrored points in orange.

    Orange inside the face marks mirrored points that wrongly cover visible ones.
    """
    fine = size * _OVERSAMPLING
    pixels, depth = _projected(cloud.positions, frame, fine)
    mirrored = cloud.mirrored_of >= 0
    radius = min(_COVERING * _spacing(pixels[~mirrored]), _WIDEST * fine) + 0.5  # half a pixel is lost to rounding
    points = nearest_points(pixels, depth, radius, fine)
    columns, rows = cloud.source_pixel.T
    grey = np.repeat(cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY)[rows, columns][:, None], 3, axis=1)
    facing = -cloud.normals @ frame.head_to_camera[2, :3]
    colors = np.where(mirrored[:, None], _lit(MIRRORED_COLOR, facing), grey)
    visible_points = nearest_points(pixels[~mirrored], depth[~mirrored], radius, fine)
    covered = covered_fraction(points, visible_points, cloud)
    caption = [Swatch(MIRRORED_COLOR, f"mirrored points cover {covered:.1%} of the visible")]
    return Panel("Cloud in the source's camera", caption, _painted(points, colors))


def covered_fraction(
    nearest: Int64[np.ndarray, "size size"], nearest_visible: Int64[np.ndarray, "size size"], cloud: HeadCloud
) -> float:
    """Return the fraction of the visible points' pixels in which a mirrored point lies nearer.

    Args:
        nearest: result of `nearest_points` for the whole cloud. nearest_visible: for its visible points alone.
    """
    nearest_there = nearest[nearest_visible >= 0]
    return float((cloud.mirrored_of[nearest_there] >= 0).mean()) if nearest_there.size else 0.0


def view_panel(cloud: HeadCloud, angle_deg: float, name: str, size: int) -> Panel:
    """Draw the cloud orthographically, seen from `angle_deg` to the person's left of the face's axis."""
    fine = size * _OVERSAMPLING
    angle = np.deg2rad(angle_deg)
    # Rows: right, up and towards the viewer, in head space. The viewer sees the person's left on their right.
    axes = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
    centre, extent = _frame_of(cloud)
    seen = (cloud.positions - centre) @ axes.T
    scale = 0.47 * fine / extent
    mirrored = cloud.mirrored_of >= 0
    radius = min(_spacing(cloud.positions[~mirrored]) * scale, _WIDEST * fine)
    points = nearest_points(fine / 2 + seen[:, :2] * (scale, -scale), -seen[:, 2], radius, fine)
    facing = cloud.normals @ axes[2]
    colors = np.where(mirrored[:, None], _lit(MIRRORED_COLOR, facing), _lit(VISIBLE_COLOR, facing))
    return Panel(name, _legend(int(mirrored.sum()), len(mirrored)), _painted(points, colors))


def _legend(num_mirrored: int, num_points: int) -> list[Swatch]:
    counts = {"visible": num_points - num_mirrored, "mirrored": num_mirrored}
    colors = (VISIBLE_COLOR, MIRRORED_COLOR)
    texts = [f"{count:,} {name}".replace(",", " ") for name, count in counts.items()]
    return [Swatch(color, text) for color, text in zip(colors, texts, strict=True)]


def _projected(
    positions: Float[np.ndarray, "num_points 3"], frame: HeadFrame, size: int
) -> tuple[Float64[np.ndarray, "num_points 2"], Float64[np.ndarray, " num_points"]]:
    """Project points in head space to pixels of the crop at `size`, and return their depth in cm too."""
    transform = frame.head_to_camera.astype(np.float64)
    camera = positions @ transform[:3, :3].T + transform[:3, 3]
    image = camera @ frame.intrinsics.T.astype(np.float64)
    return image[:, :2] / image[:, 2:] * (size / len(frame.image)), camera[:, 2]


def _painted(
    points: Int64[np.ndarray, "fine fine"],
    colors: Float[np.ndarray, "num_points 3"] | UInt8[np.ndarray, "num_points 3"],
    paper: UInt8[np.ndarray, "size size 3"] | None = None,
) -> UInt8[np.ndarray, "size size 3"]:
    """Paint the points' colours over `paper`, or over a neutral colour, and average down to the panel's size."""
    size = len(points) // _OVERSAMPLING
    image = np.full((size, size, 3), NEUTRAL, np.uint8) if paper is None else paper
    fine = np.repeat(np.repeat(image, _OVERSAMPLING, axis=0), _OVERSAMPLING, axis=1)
    drawn = points >= 0
    fine[drawn] = np.rint(colors[points[drawn]]).astype(np.uint8)
    return np.asarray(cv2.resize(fine, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def _lit(color: Color, facing: Float[np.ndarray, " num_points"]) -> Float[np.ndarray, "num_points 3"]:
    """Shade `color` with a light at the viewer; points that face away are dark."""
    brightness = AMBIENT + (1 - AMBIENT) * np.clip(facing, 0, 1)
    return np.asarray(brightness[:, None] * np.array(color))


def _spacing(points: Float[np.ndarray, "num_points dim"]) -> float:
    """Return the median distance from a point to its nearest neighbour."""
    return float(np.median(cKDTree(points).query(points, k=2)[0][:, 1])) if len(points) > 1 else 1.0


def _frame_of(cloud: HeadCloud) -> tuple[Float[np.ndarray, "3"], float]:
    """Return the middle and the radius of the cloud in cm, the same for every view.

    A few stray points may fall off the image, so that they do not shrink the head.
    """
    if not len(cloud.positions):
        return np.zeros(3), 1.0
    centre = np.percentile(cloud.positions, (_STRAY_PERCENT, 100 - _STRAY_PERCENT), axis=0).mean(axis=0)
    distance = np.linalg.norm(cloud.positions - centre, axis=1)
    return centre, max(float(np.percentile(distance, 100 - _STRAY_PERCENT)), 1e-6)


def _barycentric_grid(steps: int) -> Float64[np.ndarray, "num_points 3"]:
    """Return barycentric coordinates of a triangular grid with `steps` intervals along each side."""
    first, second = np.mgrid[: steps + 1, : steps + 1].reshape(2, -1)
    inside = first + second <= steps
    counts = np.stack((first, second, steps - first - second), axis=1)[inside]
    return np.asarray(counts / steps)


def _residual_colors() -> UInt8[np.ndarray, "256 3"]:
    levels = np.arange(256, dtype=np.uint8)[:, None]
    return np.asarray(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[:, 0, ::-1])
