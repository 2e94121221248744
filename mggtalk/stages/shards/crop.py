"""The fixed square crop of a clip: where it lies in the video frame, and its pixels."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64, UInt8

from mggtalk.perception.depth.mesh_depth import HEAD_CENTER, HEAD_RADII


@dataclass(frozen=True, slots=True)
class SquareCrop:
    """A square of whole video pixels, brought to `size` pixels; it may leave the frame.

    Attributes:
        left, top, side: in pixels of the video frame. size: side of the crop image in pixels.
    """

    left: int
    top: int
    side: int
    size: int

    @property
    def scale(self) -> float:
        """Crop pixels per video pixel."""
        return self.size / self.side

    @property
    def video_to_crop(self) -> Float64[np.ndarray, "2 3"]:
        """The similarity transform of pixel positions, centres at +0.5 on both sides."""
        return np.array([[self.scale, 0.0, -self.left * self.scale], [0.0, self.scale, -self.top * self.scale]])

    def points(self, pixels: Float[np.ndarray, "*batch 2"]) -> Float[np.ndarray, "*batch 2"]:
        """Return positions in the crop of positions in the video frame."""
        return np.asarray((pixels - (self.left, self.top)) * self.scale)

    def intrinsics(self, intrinsics: Float[np.ndarray, "3 3"]) -> Float64[np.ndarray, "3 3"]:
        """Return the intrinsics of the crop from those of the video frame."""
        return np.asarray(np.vstack((self.video_to_crop, (0.0, 0.0, 1.0))) @ intrinsics, dtype=np.float64)

    def valid_box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Return left, top, right, bottom in crop pixels of what a video frame of this size covers."""
        low = np.clip(self.points(np.zeros(2)), 0, self.size)
        high = np.clip(self.points(np.array([width, height], dtype=np.float64)), 0, self.size)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    def image(self, frame: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "size size 3"]:
        """Return the crop of a video frame, black where it leaves the frame."""
        height, width = frame.shape[:2]
        columns = np.clip((self.left, self.left + self.side), 0, width)
        rows = np.clip((self.top, self.top + self.side), 0, height)
        square = np.zeros((self.side, self.side, 3), np.uint8)
        square[slice(*rows - self.top), slice(*columns - self.left)] = frame[slice(*rows), slice(*columns)]
        method = cv2.INTER_AREA if self.size < self.side else cv2.INTER_CUBIC
        return cv2.resize(square, (self.size, self.size), interpolation=method)


def head_crop(
    head_to_camera: Float32[np.ndarray, "num_frames 4 4"],
    intrinsics: Float[np.ndarray, "3 3"],
    margin: float,
    size: int,
) -> SquareCrop:
    """Return the crop that holds the mean head in all poses of a clip, `margin` times as large.

    The box of the head is that of an ellipsoid, so hair and crown are in even where landmarks end at the forehead.
    """
    turn = head_to_camera[:, :3, :3].astype(np.float64)
    center = turn @ HEAD_CENTER + head_to_camera[:, :3, 3]
    # The extent of a rotated ellipsoid along an axis is the length of the axis' row scaled by the radii.
    extent = np.linalg.norm(turn * HEAD_RADII, axis=-1)[:, :2]
    focal = intrinsics[[0, 1], [0, 1]]
    middle = center[:, :2] / center[:, 2:] * focal + intrinsics[:2, 2]
    reach = extent / center[:, 2:] * focal
    low, high = (middle - reach).min(axis=0), (middle + reach).max(axis=0)
    side = max(round(float((high - low).max() * margin)), 2)
    left, top = np.round((low + high) / 2 - side / 2).astype(int)
    return SquareCrop(int(left), int(top), side, size)
