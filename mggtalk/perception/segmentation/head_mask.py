"""Cuts the head out of a person mask by the face landmarks alone: hair in, neck and shoulders out."""

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from mggtalk.geometry.head.landmark_sets import LandmarkSet

_PERSON = 0.5
# Beside the jaw only hair hangs down, and landmarks do not show where it ends and shoulders begin. A cut at this
# fraction of the way from the ears' level to the chin keeps most chin-length hair, and drops the shoulders of a person
# who looks down.
_HAIR_LEVEL = 0.7


def head_mask(
    person: Float32[np.ndarray, "height width"],
    landmarks_px: Float[np.ndarray, "num_landmarks 2"],
    up: Float[np.ndarray, " 2"],
    landmarks: LandmarkSet,
) -> Bool[np.ndarray, "height width"]:
    """Return the head's pixels: the face, and all of the person above the jaw line that is connected to it.

    Args:
        person: probability that a pixel shows a person.
        landmarks_px: pixels of the same image.
        up: direction of the head's crown in the image; its length does not matter.
    """
    height, width = person.shape
    oval = landmarks_px[list(landmarks.contours["face_oval"])]
    face = face_silhouette(landmarks_px, landmarks, height, width)
    above = _above_jaw(oval, up, height, width)
    candidates = ((person > _PERSON) & above) | (face > 0)
    _, components = cv2.connectedComponents(candidates.astype(np.uint8), connectivity=4)
    labels, counts = np.unique(components[face > 0], return_counts=True)
    if labels.size == 0:
        return np.zeros((height, width), dtype=bool)
    return np.asarray(components == labels[counts.argmax()])


def face_silhouette(
    landmarks_px: Float[np.ndarray, "num_landmarks 2"], landmarks: LandmarkSet, height: int, width: int
) -> UInt8[np.ndarray, "height width"]:
    """Return 1 where the face mesh is; the face oval is too small, because a turned head's nose and cheek exceed it."""
    face = np.zeros((height, width), np.uint8)
    for triangle in np.round(landmarks.surface(landmarks_px)[landmarks.triangles] - 0.5).astype(np.int32):
        cv2.fillConvexPoly(face, triangle, 1)
    return face


def _above_jaw(
    oval: Float[np.ndarray, "num_points 2"], up: Float[np.ndarray, " 2"], height: int, width: int
) -> Bool[np.ndarray, "height width"]:
    """Return the pixels above the lower half of the face oval, in the head's own upright frame."""
    length = np.linalg.norm(up)
    down = -up / length if length > 1e-3 else np.array([0.0, 1.0])
    side = np.array([-down[1], down[0]])
    across, along = oval @ side, oval @ down
    ends = np.array([across.argmin(), across.argmax()])
    ear_level = along[ends].mean()
    chin_level = along.max()
    jaw_across, jaw_along = _lower_envelope(across, along)
    hair_level = ear_level + _HAIR_LEVEL * (chin_level - ear_level)
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    pixel_across = columns * side[0] + rows * side[1]
    pixel_along = columns * down[0] + rows * down[1]
    # Where the oval of a turned head folds over, its lowest point may be the temple: above hair level nothing is cut.
    limit = np.maximum(np.interp(pixel_across, jaw_across, jaw_along, left=hair_level, right=hair_level), hair_level)
    return np.asarray(pixel_along <= limit)


def _lower_envelope(
    across: Float[np.ndarray, " num_points"], along: Float[np.ndarray, " num_points"]
) -> tuple[Float[np.ndarray, " num_bins"], Float[np.ndarray, " num_bins"]]:
    """Return the lowest point of a closed contour for every whole pixel across; in profile the contour folds over."""
    fraction = np.linspace(0.0, 1.0, 32, endpoint=False)[:, None]
    dense_across = (across + fraction * (np.roll(across, -1) - across)).ravel()
    dense_along = (along + fraction * (np.roll(along, -1) - along)).ravel()
    columns, members = np.unique(np.round(dense_across), return_inverse=True)
    lowest = np.full(len(columns), -np.inf)
    np.maximum.at(lowest, members, dense_along)
    return columns, lowest
