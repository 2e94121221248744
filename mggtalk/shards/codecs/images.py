"""Encodes images, masks, depth and normals as JPEG and PNG bytes, and decodes them."""

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8, UInt16

_MAX_UNIT = 65535

# Measured (docs/shards.md): the "up" filter at level 1 is the fastest to write and to read, and hardly larger than
# cv2's default at level 3; at one bit per pixel level 6 costs next to nothing.
_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP)
_PNG_MASK = (cv2.IMWRITE_PNG_COMPRESSION, 6, cv2.IMWRITE_PNG_BILEVEL, 1)

Image = UInt8[np.ndarray, "height width 3"]
Mask = Bool[np.ndarray, "height width"]
Depth = Float32[np.ndarray, "height width"]
DepthUnits = UInt16[np.ndarray, "height width"]
Normals = Float32[np.ndarray, "height width 3"]


def encode_rgb(image: Image, quality: int) -> bytes:
    """Return `image` (RGB) as JPEG of quality 1 to 100, chroma at half resolution."""
    return _encode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, quality))


def decode_rgb(data: bytes) -> Image:
    """Return the RGB image in `data`.

    Raises:
        ValueError: `data` cannot be decoded; the other decoders here raise it too.
    """
    return _decode(data, cv2.IMREAD_COLOR_RGB)


def encode_mask(mask: Mask) -> bytes:
    """Return `mask` as a PNG of one bit per pixel."""
    return _encode(".png", mask.astype(np.uint8) * np.uint8(255), _PNG_MASK)


def decode_mask(data: bytes) -> Mask:
    """Return the mask in `data`; see `decode_rgb`."""
    mask: Mask = _decode(data, cv2.IMREAD_GRAYSCALE) > 127
    return mask


def encode_depth(depth: Depth) -> tuple[bytes, float]:
    """Return `depth` (cm, 0 = none) as a 16-bit PNG and its scale in cm per unit; the error is at most half a unit.

    Raises:
        ValueError: a depth is negative or not finite.
    """
    if not np.isfinite(depth).all() or depth.min() < 0:
        raise ValueError("depth: expected finite values of at least 0 (0 = none)")
    scale = float(depth.max()) / _MAX_UNIT or 1.0
    # At least 1 where depth is known: a depth that rounds to 0 would be read as unknown.
    units = np.where(depth > 0, np.maximum(np.rint(depth / scale), 1), 0).astype(np.uint16)
    return _encode(".png", units, _PNG), scale


def decode_depth(data: bytes, scale: float) -> Depth:
    """Return the depth in cm; see `decode_rgb`."""
    return depth_of_units(decode_depth_units(data), scale)


def decode_depth_units(data: bytes) -> DepthUnits:
    """Return the depth in the units of its scale, 0 = none; see `decode_rgb`."""
    units = _decode(data, cv2.IMREAD_UNCHANGED)
    if units.dtype != np.uint16 or units.ndim != 2:
        raise ValueError(f"depth: expected one 16-bit channel, got {units.dtype} {units.shape}")
    return units


def depth_of_units(units: DepthUnits, scale: float) -> Depth:
    """Return the depth in cm."""
    return units * np.float32(scale)


def encode_normals(normals: Normals) -> bytes:
    """Return unit `normals` (0, 0, 0 = none) as an 8-bit RGB PNG of n / 2 + 1 / 2; the error is below 0.4 degrees."""
    known = known_normals(normals)[..., None]
    colors = np.where(known, np.rint((normals * 0.5 + 0.5) * 255), 0).astype(np.uint8)
    return _encode(".png", cv2.cvtColor(colors, cv2.COLOR_RGB2BGR), _PNG)


def decode_normals(data: bytes) -> Normals:
    """Return unit normals, (0, 0, 0) = none; see `decode_rgb`."""
    return normals_of_colors(decode_rgb(data))


def normals_of_colors(colors: Image) -> Normals:
    """Return the unit normals of their stored colours."""
    known = cv2.bitwise_not(cv2.inRange(colors, (0, 0, 0), (0, 0, 0)))
    normals = colors.astype(np.float32) * np.float32(2 / 255) - 1
    return unit_or_zero(cv2.copyTo(normals, known))


# The next three run for every source frame that is read; cv2 takes a third of numpy's time for them.


def known_normals(normals: Normals) -> Mask:
    """Return where `normals` are not (0, 0, 0)."""
    return _squared_length(normals) > 0


def unit_or_zero(vectors: Normals) -> Normals:
    """Return `vectors` at unit length; zero stays zero."""
    length = np.sqrt(np.maximum(_squared_length(vectors), np.float32(1e-24)))
    unit: Normals = cv2.divide(vectors, cv2.merge([length, length, length]))
    return unit


def _squared_length(vectors: Normals) -> Depth:
    squared: Depth = cv2.transform(cv2.multiply(vectors, vectors), np.ones((1, 3), np.float32))
    return squared


def _encode(extension: str, image: np.ndarray, options: tuple[int, ...]) -> bytes:
    encoded, buffer = cv2.imencode(extension, image, options)
    if not encoded:
        raise ValueError(f"cannot encode {image.dtype} {image.shape} as {extension}")
    data: bytes = buffer.tobytes()
    return data


def _decode(data: bytes, flags: int) -> np.ndarray:
    try:
        image: np.ndarray | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as cause:
        raise ValueError(f"cannot be decoded: {cause.err}") from None
    if image is None:
        raise ValueError("cannot be decoded as an image")
    return image
