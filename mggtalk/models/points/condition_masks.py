"""Condition masks: eyes, irises and mouth as a camera sees them, drawn from the landmarks."""

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from mggtalk.geometry.cameras import pixel_centers, project, rotate_directions, transform_points
from mggtalk.geometry.contours import inside_contour
from mggtalk.geometry.head.landmark_sets import LandmarkSet, landmark_set
from mggtalk.models.batches import DriverBatch

_EYES, _MOUTH = ("right_eye", "left_eye"), "lips_inner"
_IRIS_RIM = 0.15
"""Softness of an iris's edge, in its radii."""
_TURNED_AWAY = 0.3
"""Cosine to the line of sight below which a mask fades: the far eye of a profile lies behind the nose."""


class EyeMouthMasks(nn.Module):
    """Draws eyes, irises and mouth from landmarks.

    Points on closed lids and lips do not tell where an eye or teeth will appear, nor how much of an iris is covered;
    the landmarks do.
    """

    NUM_PLANES = 3

    def __init__(self, name: str) -> None:
        """Take the contours of the landmark set called `name`.

        Raises:
            StageError: there is no such set.
        """
        super().__init__()
        landmarks = landmark_set(name)
        self.contours: Tensor  # buffers, because they move with the landmarks; not stored, because the set has them
        self.irises: Tensor
        self.normals: Tensor
        self.register_buffer("contours", _contours(landmarks), persistent=False)
        self.register_buffer("normals", _normals(landmarks), persistent=False)
        irises = [landmarks.irises[eye] for eye in _EYES if eye in landmarks.irises]
        self.register_buffer("irises", torch.tensor(irises, dtype=torch.long), persistent=False)

    @torch.no_grad()
    def forward(
        self, landmarks: Float[Tensor, "batch num_landmarks 3"], driver: DriverBatch, height: int, width: int
    ) -> Float[Tensor, "batch 3 height width"]:
        """Return masks of the eyes, of the irises between the lids, and of the mouth, 0 to 1.

        A contour that is not wholly in front of the camera is not drawn.

        Args:
            landmarks: of the heads as they are driven, in head space, cm.
        """
        in_camera = transform_points(driver.head_to_camera, landmarks)
        pixels = project(in_camera, driver.intrinsics)
        inside = inside_contour(pixels[:, self.contours].flatten(0, 1), height, width)
        inside = inside.unflatten(0, (-1, len(self.contours)))
        masks = inside * self._clarity(in_camera[:, self.contours], driver)[:, :, None, None]
        eyes, mouth = masks.split((len(_EYES), 1), dim=1)
        planes = [eyes.amax(dim=1, keepdim=True), torch.zeros_like(mouth), mouth]
        if len(self.irises):
            middle, ring = pixels[:, self.irises].split((1, self.irises.shape[1] - 1), dim=2)
            radius = (ring - middle).norm(dim=-1).mean(dim=-1)[:, :, None, None]
            away = (pixel_centers(height, width, landmarks.device) - middle.unsqueeze(2)).norm(dim=-1) / radius
            # NaN only for an iris without radius, or one in the camera's own plane.
            covered = torch.sigmoid((1 - away) / _IRIS_RIM).nan_to_num(0.0) * eyes
            planes[1] = covered.amax(dim=1, keepdim=True)
        return torch.cat(planes, dim=1)

    def _clarity(
        self, corners: Float[Tensor, "batch 3 num_corners 3"], driver: DriverBatch
    ) -> Float[Tensor, "batch 3"]:
        """Return the weight of each mask: 1, less as it turns away, 0 if a corner is not in front of the camera."""
        looks = rotate_directions(driver.head_to_camera, self.normals)
        cosine = -functional.cosine_similarity(looks, corners.mean(dim=2), dim=-1)
        is_before = (corners[..., 2] > 0).all(dim=2)
        return torch.where(is_before, (cosine / _TURNED_AWAY).clamp(0, 1), 0.0)


def _contours(landmarks: LandmarkSet) -> Int64[Tensor, "3 num_corners"]:
    """Return the corners of right eye, left eye and mouth.

    The last corner pads the row: edges of no length do not change what is inside.
    """
    contours = [landmarks.contours[name] for name in (*_EYES, _MOUTH)]
    most = max(map(len, contours))
    return torch.tensor([contour + contour[-1:] * (most - len(contour)) for contour in contours])


def _normals(landmarks: LandmarkSet) -> Float[Tensor, "3 3"]:
    """Return the normals of the neutral face's right eye, left eye and mouth, in head space.

    The neutral face's, because a contour that is nearly shut is a slit without a meaningful normal; the mouth has that
    of its outer lips.
    """
    contours = [landmarks.neutral[list(landmarks.contours[name])] for name in (*_EYES, "lips_outer")]
    spokes = [contour - contour.mean(axis=0) for contour in contours]
    normals = np.array([np.cross(spoke, np.roll(spoke, -1, axis=0)).sum(axis=0) for spoke in spokes])
    normals *= np.sign(normals[:, 2:])  # contours may go around either way; a face looks along the third axis
    return torch.from_numpy(normals / np.linalg.norm(normals, axis=1, keepdims=True)).float()
