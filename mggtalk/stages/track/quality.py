"""Measures the fit of a clip's head, in figures for the table of clips."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from mggtalk.geometry.head.landmark_sets import landmark_set
from mggtalk.records import ClipTrack

_SECOND_DIFFERENCE_GAIN = 6.0**0.5
"""Standard deviation of x[t-1] - 2 x[t] + x[t+1] over that of independent noise on x."""


@dataclass(frozen=True, slots=True)
class ClipQuality:
    """Medians over the frames and rigid landmarks of a clip.

    Attributes:
        reprojection_percent: distance between a landmark and where the rigid shape projects, in the image, in percent
            of the distance between the outer eye corners as seen from the front; expression counts as error.
        mirror_residual_mm: half the distance between a canonical landmark and its mirrored twin.
        jitter_mm: noise of the canonical landmarks from frame to frame, by their second difference; 0 under 3 frames.
        max_yaw_deg: largest turn of the head to either side.
    """

    reprojection_percent: float
    mirror_residual_mm: float
    jitter_mm: float
    max_yaw_deg: float


def clip_quality(clip: ClipTrack) -> ClipQuality:
    """Return the figures of a clip."""
    landmarks = landmark_set(clip.landmark_set)
    rigid = np.flatnonzero(landmarks.alignment_weights)
    heading = clip.head_to_camera[:, :3, 2].astype(np.float64)
    jitter = np.diff(clip.landmarks[:, rigid].astype(np.float64), n=2, axis=0) / _SECOND_DIFFERENCE_GAIN
    return ClipQuality(
        reprojection_percent=float(np.median(reprojection_percent(clip)[:, rigid])),
        mirror_residual_mm=float(np.median(mirror_residual_mm(clip)[:, rigid])),
        jitter_mm=10.0 * float(np.median(np.linalg.norm(jitter, axis=-1))) if len(jitter) else 0.0,
        max_yaw_deg=float(np.degrees(np.abs(np.arctan2(heading[:, 0], -heading[:, 2]))).max()),
    )


def reprojection_percent(clip: ClipTrack) -> Float64[np.ndarray, "num_frames num_landmarks"]:
    """Return how far each landmark is seen from where the rigid shape projects; see `ClipQuality`."""
    right, left = landmark_set(clip.landmark_set).eye_corners
    eye_distance = float(np.linalg.norm(clip.neutral_landmarks[right] - clip.neutral_landmarks[left]))
    pose = clip.head_to_camera.astype(np.float64)
    camera = clip.neutral_landmarks @ pose[:, :3, :3].transpose(0, 2, 1) + pose[:, None, :3, 3]
    image = camera @ clip.intrinsics.T
    distance_px = np.linalg.norm(image[..., :2] / image[..., 2:] - clip.landmarks_px, axis=-1)
    eyes_px = clip.intrinsics[0, 0] * eye_distance / camera[:, [right, left], 2].mean(axis=1)
    return np.asarray(100.0 * distance_px / eyes_px[:, None])


def mirror_residual_mm(clip: ClipTrack) -> Float64[np.ndarray, "num_frames num_landmarks"]:
    """Return half the distance between each canonical landmark and its mirrored twin; see `ClipQuality`."""
    twins = clip.landmarks[:, landmark_set(clip.landmark_set).mirror] * np.array([-1.0, 1.0, 1.0])
    return np.asarray(5.0 * np.linalg.norm(clip.landmarks - twins, axis=-1))
