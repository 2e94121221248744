"""Panels of an inspection that lie over the crop: landmarks, head mask, background, depth, normals, relief.

Every function takes a source frame and returns a square panel of `size` pixels.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from mggtalk.geometry.head.landmark_sets import LandmarkSet
from mggtalk.models.batches import collate_sources
from mggtalk.models.networks.inpainting import torso_background
from mggtalk.records import HeadFrame, SourceFrame
from mggtalk.shards.codecs.images import known_normals
from mggtalk.visualization import images as pictures
from mggtalk.visualization.figure import Color, Panel, Scale, Swatch

Square = UInt8[np.ndarray, "size size 3"]

NEUTRAL: Color = (236, 236, 234)  # where there is nothing to show
LEFT_COLOR: Color = (0, 196, 140)  # the person's left
RIGHT_COLOR: Color = (226, 70, 190)
MIDDLE_COLOR: Color = (250, 250, 250)
_HATCH: Color = (206, 206, 202)
_HATCH_PX = 9.0
_OUTLINE: Color = (255, 210, 60)
_MIDDLE_CM = 0.3  # landmarks this near to the symmetry plane of the neutral shape have no side
_LIGHT = np.array([-0.5, -0.62, -0.6])  # to the light: from the viewer's upper left, raking, so that dents cast shade
_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates


def crop_panel(frame: HeadFrame, size: int) -> Panel:
    """Return the picture as it is stored."""
    share = 1.0 - frame.valid.mean()
    outside = Swatch(_HATCH, f"outside the video frame, {share:.0%}") if share > 0 else "all of it in the video frame"
    return Panel("Crop", [f"{len(frame.image)} px", outside], draw_crop(frame, size))


def landmarks_panel(frame: HeadFrame, landmarks: LandmarkSet, size: int) -> Panel:
    """Return landmarks and contours in the colours of the person's sides."""
    picture = draw_crop(frame, size)
    scale = size / len(frame.image)
    pixels = _drawn_at(frame.landmarks_px * scale)
    colors = [_side_color(x) for x in landmarks.neutral[:, 0]]
    for contour in landmarks.contours.values():
        for start, end in zip(contour, (*contour[1:], contour[0]), strict=True):
            color = colors[start] if colors[start] != MIDDLE_COLOR else colors[end]
            cv2.line(picture, pixels[start], pixels[end], color, 1, cv2.LINE_AA, _SHIFT)
    radius = round(max(size / 300, 1.0) * 2**_SHIFT)
    for pixel, color in zip(pixels, colors, strict=True):
        cv2.circle(picture, pixel, radius, color, cv2.FILLED, cv2.LINE_AA, _SHIFT)
    sides = (Swatch(RIGHT_COLOR, "person's right"), Swatch(LEFT_COLOR, "left"))
    return Panel("Landmarks", [f"{len(pixels)}", *sides], picture)


def mask_panel(frame: HeadFrame, size: int) -> Panel:
    """Return the head in colour, its outline, and all else pale."""
    picture = draw_crop(frame, size)
    head = enlarged(frame.head_mask, size)
    picture = np.where(head[..., None], picture, faded(picture))
    outline(picture, head, _OUTLINE)
    return Panel("Head mask", [f"{frame.head_mask.mean():.0%} of the crop"], picture)


def background_panel(source: SourceFrame, size: int) -> Panel:
    """Return torso and background as the predictor gets them, the head filled in, with the rim of what is known."""
    background = torso_background(collate_sources([source]))[0].permute(1, 2, 0).numpy()
    colors, known = background[..., :3], background[..., 3]
    picture = pictures.rescaled(np.rint(colors.clip(0, 1) * 255).astype(np.uint8), size)
    filled = (known < 0.5) & source.frame.valid
    picture = _hatched(picture, source.frame.valid)
    outline(picture, enlarged(filled, size), _OUTLINE)
    return Panel("Torso and background", [f"{filled.mean():.0%} of the crop filled in"], picture)


def depth_panel(source: SourceFrame, size: int) -> Panel:
    """Return the depth in colours, near is bright."""
    near, far = pictures.depth_range(source.depth)
    picture = pictures.rescaled(pictures.draw_depth(source.depth, NEUTRAL), size)
    steps = np.linspace(near, max(far, near + 1e-3), 64, dtype=np.float32)
    colors = pictures.draw_depth(np.maximum(steps, 1e-3)[None])[0]
    return Panel("Depth", [Scale(colors, f"{near:.1f}", f"{far:.1f} cm"), "from the camera"], picture)


def normals_panel(source: SourceFrame, size: int) -> Panel:
    """Return the normals in the usual colours: red to the right, green up, blue to the viewer."""
    normals = source.normals * np.array([1, -1, -1], np.float32)
    colors = np.rint((normals * 0.5 + 0.5) * 255)
    picture = np.where(known_normals(source.normals)[..., None], colors, NEUTRAL).astype(np.uint8)
    caption = ["camera frame: red right, green up, blue to the viewer"]
    return Panel("Normals", caption, pictures.rescaled(picture, size))


def relief_panel(source: SourceFrame, size: int) -> Panel:
    """Return white plaster with these normals, lit from the viewer's upper left: facets and noise show at once."""
    brightness = np.clip(source.normals @ (_LIGHT / np.linalg.norm(_LIGHT)), 0, 1)
    shade = np.rint(255 * (0.12 + 0.88 * brightness))
    picture = np.where(known_normals(source.normals)[..., None], shade[..., None], NEUTRAL).astype(np.uint8)
    return Panel("Relief", ["of the normals, lit from the upper left"], pictures.rescaled(picture, size))


def draw_crop(frame: HeadFrame, size: int) -> Square:
    """Return the picture at `size` pixels, hatched where the crop leaves the video frame."""
    return _hatched(pictures.rescaled(frame.image, size), frame.valid)


def faded(picture: Square) -> Square:
    """Return a pale grey version of a picture, to draw on."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.repeat((150 + 0.4 * grey).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def enlarged(mask: Bool[np.ndarray, "height width"], size: int) -> Bool[np.ndarray, "size size"]:
    """Return a mask at `size` pixels with smooth edges."""
    return np.asarray(cv2.resize(mask.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR) >= 0.5)


def outline(picture: Square, mask: Bool[np.ndarray, "size size"], color: Color) -> None:
    """Draw the outline of `mask` on the picture."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.polylines(picture, contours, isClosed=True, color=color, thickness=2, lineType=cv2.LINE_AA)


def _hatched(picture: Square, valid: Bool[np.ndarray, "height width"]) -> Square:
    size = len(picture)
    rows, columns = np.mgrid[:size, :size]
    wave = np.clip(0.5 + 1.5 * np.sin(2 * np.pi * (rows + columns) / _HATCH_PX), 0, 1)[..., None]
    hatch = wave * np.array(NEUTRAL) + (1 - wave) * np.array(_HATCH)
    inside = cv2.resize(valid.astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST) > 0
    return np.where(inside[..., None], picture, np.rint(hatch)).astype(np.uint8)


def _side_color(x: float) -> Color:
    if abs(x) < _MIDDLE_CM:
        return MIDDLE_COLOR
    return LEFT_COLOR if x > 0 else RIGHT_COLOR


def _drawn_at(pixels: Float[np.ndarray, "num_points 2"]) -> list[tuple[int, int]]:
    """Return pixel positions (centres at +0.5) as OpenCV's drawing takes them: whole numbers, centres at 0."""
    return [(int(x), int(y)) for x, y in np.rint((pixels - 0.5) * 2**_SHIFT)]
