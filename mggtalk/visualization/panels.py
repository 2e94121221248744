"""Draws the panels of an inspection that lie over the crop: landmarks, head mask, background, depth, normals, relief.

Every panel function takes a source frame and returns a square panel of `size` pixels.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from mggtalk.geometry.head.landmark_sets import LandmarkSet
from mggtalk.models.batches import collate_sources
from mggtalk.models.networks.inpainting import torso_background
from mggtalk.records import HeadFrame, SourceFrame
from mggtalk.shards.codecs.images import known_normals
from mggtalk.visualization import images
from mggtalk.visualization.figure import Color, Panel, Scale, Swatch

Square = UInt8[np.ndarray, "size size 3"]

NEUTRAL: Color = (236, 236, 234)  # for pixels without data
LEFT_COLOR: Color = (0, 196, 140)  # the person's left
RIGHT_COLOR: Color = (226, 70, 190)
MIDDLE_COLOR: Color = (250, 250, 250)
_HATCH: Color = (206, 206, 202)
_HATCH_PX = 9.0
_OUTLINE: Color = (255, 210, 60)
_MIDDLE_CM = 0.3  # landmarks this near to the symmetry plane of the neutral shape have no side
_LIGHT = np.array([-0.5, -0.62, -0.6])  # towards the light: the viewer's upper left, raking, so that dents show
_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates


def crop_panel(frame: HeadFrame, size: int) -> Panel:
    """Draw the image as stored."""
    outside = 1.0 - frame.valid.mean()
    note = Swatch(_HATCH, f"outside the video frame, {outside:.0%}") if outside > 0 else "all of it in the video frame"
    return Panel("Crop", [f"{len(frame.image)} px", note], draw_crop(frame, size))


def landmarks_panel(frame: HeadFrame, landmarks: LandmarkSet, size: int) -> Panel:
    """Draw landmarks and contours in the colours of the person's sides."""
    image = draw_crop(frame, size)
    scale = size / len(frame.image)
    pixels = _drawn_at(frame.landmarks_px * scale)
    colors = [_side_color(x) for x in landmarks.neutral[:, 0]]
    for contour in landmarks.contours.values():
        for start, end in zip(contour, (*contour[1:], contour[0]), strict=True):
            color = colors[start] if colors[start] != MIDDLE_COLOR else colors[end]
            cv2.line(image, pixels[start], pixels[end], color, 1, cv2.LINE_AA, _SHIFT)
    radius = round(max(size / 300, 1.0) * 2**_SHIFT)
    for pixel, color in zip(pixels, colors, strict=True):
        cv2.circle(image, pixel, radius, color, cv2.FILLED, cv2.LINE_AA, _SHIFT)
    sides = (Swatch(RIGHT_COLOR, "person's right"), Swatch(LEFT_COLOR, "left"))
    return Panel("Landmarks", [f"{len(pixels)}", *sides], image)


def mask_panel(frame: HeadFrame, size: int) -> Panel:
    """Draw the head in colour with its outline, and the rest pale."""
    image = draw_crop(frame, size)
    head = enlarged(frame.head_mask, size)
    image = np.where(head[..., None], image, faded(image))
    outline(image, head, _OUTLINE)
    return Panel("Head mask", [f"{frame.head_mask.mean():.0%} of the crop"], image)


def background_panel(source: SourceFrame, size: int) -> Panel:
    """Draw torso and background as the predictor receives them: the head filled in, its filled region outlined."""
    background = torso_background(collate_sources([source]))[0].permute(1, 2, 0).numpy()
    colors, known = background[..., :3], background[..., 3]
    image = images.rescaled(np.rint(colors.clip(0, 1) * 255).astype(np.uint8), size)
    filled = (known < 0.5) & source.frame.valid
    image = _hatched(image, source.frame.valid)
    outline(image, enlarged(filled, size), _OUTLINE)
    return Panel("Torso and background", [f"{filled.mean():.0%} of the crop filled in"], image)


def depth_panel(source: SourceFrame, size: int) -> Panel:
    """Draw the depth in colours; near is bright."""
    near, far = images.depth_range(source.depth)
    image = images.rescaled(images.draw_depth(source.depth, NEUTRAL), size)
    steps = np.linspace(near, max(far, near + 1e-3), 64, dtype=np.float32)
    colors = images.draw_depth(np.maximum(steps, 1e-3)[None])[0]
    return Panel("Depth", [Scale(colors, f"{near:.1f}", f"{far:.1f} cm"), "from the camera"], image)


def normals_panel(source: SourceFrame, size: int) -> Panel:
    """Draw the normals in the usual colours: red to the right, green up, blue to the viewer."""
    normals = source.normals * np.array([1, -1, -1], np.float32)
    colors = np.rint((normals * 0.5 + 0.5) * 255)
    image = np.where(known_normals(source.normals)[..., None], colors, NEUTRAL).astype(np.uint8)
    caption = ["camera frame: red right, green up, blue to the viewer"]
    return Panel("Normals", caption, images.rescaled(image, size))


def relief_panel(source: SourceFrame, size: int) -> Panel:
    """Draw white plaster with these normals, lit from the viewer's upper left, which reveals facets and noise."""
    brightness = np.clip(source.normals @ (_LIGHT / np.linalg.norm(_LIGHT)), 0, 1)
    shade = np.rint(255 * (0.12 + 0.88 * brightness))
    image = np.where(known_normals(source.normals)[..., None], shade[..., None], NEUTRAL).astype(np.uint8)
    return Panel("Relief", ["of the normals, lit from the upper left"], images.rescaled(image, size))


def draw_crop(frame: HeadFrame, size: int) -> Square:
    """Draw the image at `size` pixels, hatched where the crop leaves the video frame."""
    return _hatched(images.rescaled(frame.image, size), frame.valid)


def faded(image: Square) -> Square:
    """Return a pale grey version of an image to draw on."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.repeat((150 + 0.4 * grey).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def enlarged(mask: Bool[np.ndarray, "height width"], size: int) -> Bool[np.ndarray, "size size"]:
    """Rescale a mask to `size` pixels with smooth edges."""
    return np.asarray(cv2.resize(mask.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR) >= 0.5)


def outline(image: Square, mask: Bool[np.ndarray, "size size"], color: Color) -> None:
    """Draw the outline of `mask` on the image, in place."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.polylines(image, contours, isClosed=True, color=color, thickness=2, lineType=cv2.LINE_AA)


def _hatched(image: Square, valid: Bool[np.ndarray, "height width"]) -> Square:
    size = len(image)
    rows, columns = np.mgrid[:size, :size]
    wave = np.clip(0.5 + 1.5 * np.sin(2 * np.pi * (rows + columns) / _HATCH_PX), 0, 1)[..., None]
    hatch = wave * np.array(NEUTRAL) + (1 - wave) * np.array(_HATCH)
    inside = cv2.resize(valid.astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST) > 0
    return np.where(inside[..., None], image, np.rint(hatch)).astype(np.uint8)


def _side_color(x: float) -> Color:
    if abs(x) < _MIDDLE_CM:
        return MIDDLE_COLOR
    return LEFT_COLOR if x > 0 else RIGHT_COLOR


def _drawn_at(pixels: Float[np.ndarray, "num_points 2"]) -> list[tuple[int, int]]:
    """Convert pixel positions (centres at +0.5) to OpenCV's fixed-point drawing coordinates (centres at 0)."""
    return [(int(x), int(y)) for x, y in np.rint((pixels - 0.5) * 2**_SHIFT)]
