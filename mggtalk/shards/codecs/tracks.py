"""Per-frame tracks of a clip or of one chunk of it, and their encoding as the member `tracks.npz`."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float32, Float64, Int32

from mggtalk.shards.codecs.arrays import dump_arrays, load_arrays

_DTYPES = {"times_s": np.float64, "frame_index": np.int32}


@dataclass(frozen=True, slots=True, eq=False)
class ClipTracks:
    """Tracks of consecutive frames; `landmarks_px` in pixels of the stored crop, the rest as in `records.ClipTrack`."""

    landmarks_px: Float32[np.ndarray, "num_frames num_landmarks 2"]
    landmarks: Float32[np.ndarray, "num_frames num_landmarks 3"]
    neutral_landmarks: Float32[np.ndarray, "num_landmarks 3"]
    head_to_camera: Float32[np.ndarray, "num_frames 4 4"]
    expression: Float32[np.ndarray, "num_frames num_coefficients"]
    times_s: Float64[np.ndarray, " num_frames"]
    frame_index: Int32[np.ndarray, " num_frames"]
    face_size: Float32[np.ndarray, " num_frames"]
    sharpness: Float32[np.ndarray, " num_frames"]

    def __post_init__(self) -> None:
        """Check that the arrays are of one clip."""
        num_frames, num_landmarks = self.landmarks_px.shape[:2]
        coefficients = self.expression.shape[1:]
        expected = {
            "landmarks_px": (num_frames, num_landmarks, 2),
            "landmarks": (num_frames, num_landmarks, 3),
            "neutral_landmarks": (num_landmarks, 3),
            "head_to_camera": (num_frames, 4, 4),
            "expression": (num_frames, *coefficients),
        }
        for name in TRACK_ARRAYS:
            shape = getattr(self, name).shape
            if shape != expected.get(name, (num_frames,)):
                raise ValueError(f"tracks: {name}: got shape {shape}, expected {expected.get(name, (num_frames,))}")

    @property
    def num_frames(self) -> int:
        """Number of frames."""
        return len(self.frame_index)

    def chunk(self, start: int, stop: int) -> Self:
        """Return the tracks of the frames `start` to `stop` (exclusive)."""
        frames = {name: getattr(self, name)[start:stop] for name in _FRAME_ARRAYS}
        return dataclasses.replace(self, **frames)


TRACK_ARRAYS = tuple(field.name for field in dataclasses.fields(ClipTracks))
_FRAME_ARRAYS = tuple(name for name in TRACK_ARRAYS if name != "neutral_landmarks")


def concatenate_tracks(chunks: Sequence[ClipTracks]) -> ClipTracks:
    """Return the tracks of consecutive chunks of one clip as one."""
    frames = {name: np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in _FRAME_ARRAYS}
    return dataclasses.replace(chunks[0], **frames)


def encode_tracks(tracks: ClipTracks) -> bytes:
    """Return the bytes of `tracks.npz`."""
    return dump_arrays({name: getattr(tracks, name).astype(_DTYPES.get(name, np.float32)) for name in TRACK_ARRAYS})


def decode_tracks(data: bytes) -> ClipTracks:
    """Return the tracks in the bytes of a `tracks.npz`.

    Raises:
        ValueError: damaged, or the arrays do not fit each other.
    """
    return ClipTracks(**load_arrays(data, TRACK_ARRAYS))
