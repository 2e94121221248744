"""Augments pairs with colour changes, mirroring and camera jitter, as a function of the pair's number alone."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from scipy.special import ndtri
from torch import Tensor

from mggtalk.errors import StageError
from mggtalk.geometry.symmetry import mirror_points
from mggtalk.models.batches import DriverBatch, SourceBatch, TargetBatch, TrackBatch
from mggtalk.training.config import AugmentConfig
from mggtalk.training.data.camera_jitter import CameraJitter, jittered_driver, jittered_source, jittered_target
from mggtalk.training.data.host_batch import Batch

_STREAM = 2
"""Random stream of the mirroring of image pairs; the next three are those of track pairs, colours and cameras."""
_DRAWS, _DRAWS_PER_COUNT = 8, 4
"""Random numbers of a pair, and of one step of Philox's counter."""
_GREY = 0.5
BatchT = TypeVar("BatchT", SourceBatch, DriverBatch, TargetBatch, TrackBatch)


@dataclass(frozen=True, slots=True, eq=False)
class MirrorIndices:
    """Index, for each landmark and each expression coefficient, of its counterpart in the mirror image."""

    landmarks: Int64[Tensor, " num_landmarks"]
    expression: Int64[Tensor, " num_coefficients"]

    def to(self, device: torch.device | str) -> "MirrorIndices":
        """Return the same on a device."""
        return MirrorIndices(self.landmarks.to(device), self.expression.to(device))


def mirrored_expression_indices(names: Sequence[str]) -> Int64[Tensor, " num_coefficients"]:
    """Return the index of the coefficient that each becomes in a mirror: `jawLeft` becomes `jawRight`.

    Raises:
        StageError: a coefficient of one side has no counterpart, or none has a side, as with principal components.
    """
    indices = {name: index for index, name in enumerate(names)}
    swapped = [_other_side(name) for name in names]
    missing = [name for name in swapped if name not in indices]
    if missing or list(names) == swapped:
        raise StageError(
            "train.augment.mirror: expected expression coefficients in pairs of left and right, or mirror: false; "
            f"got {', '.join(names)}"
        )
    return torch.tensor([indices[name] for name in swapped])


def _other_side(name: str) -> str:
    for side, other in (("Left", "Right"), ("Right", "Left")):
        if side in name:
            return name.replace(side, other)
    return name


class Augmentation:
    """Augments batches; a pair of a run is always augmented in the same way, whichever worker has it."""

    def __init__(
        self,
        settings: AugmentConfig,
        seed: int,
        mirror_indices: MirrorIndices | None,
        device: torch.device | str = "cpu",
    ) -> None:
        """Store the settings.

        Args:
            mirror_indices: of the shards; needed to mirror. device: of the batches.
        """
        self._settings = settings
        self._seed = seed
        self._mirror_indices = mirror_indices.to(device) if mirror_indices else None

    def __call__(self, batch: Batch, pairs: range, track_pairs: range) -> Batch:
        """Return `batch` augmented; `pairs` and `track_pairs` are the numbers of its pairs in the run."""
        source, driver, target, tracks = batch
        device = source.image.device
        if self._settings.mirror and self._mirror_indices is not None:
            indices = self._mirror_indices
            is_mirrored = self._coin_flips(pairs, _STREAM, device)
            source = _where(is_mirrored, mirrored_source(source, indices), source)
            driver = _where(is_mirrored, mirrored_driver(driver, indices, target.image.shape[-1]), driver)
            target = _where(is_mirrored, mirrored_target(target, indices), target)
            are_tracks_mirrored = self._coin_flips(track_pairs, _STREAM + 1, device)
            tracks = _where(are_tracks_mirrored, mirrored_tracks(tracks, indices), tracks)
        if self._settings.moves_cameras:
            size = target.image.shape[-1]
            jitter = self._camera_jitter(pairs, size, device)
            source, target = jittered_source(source, jitter), jittered_target(target, jitter)
            driver = jittered_driver(driver, jitter, size)
        if self._settings.color > 0:
            gain, shift = self._colors(pairs, device)
            source = dataclasses.replace(source, image=_recolored(source.image, gain, shift))
            target = dataclasses.replace(target, image=_recolored(target.image, gain, shift))
        return source, driver, target, tracks

    def _coin_flips(self, numbers: range, stream: int, device: torch.device) -> Bool[Tensor, " batch"]:
        return _to_device(self._uniform(numbers, stream)[:, 0] < 0.5, device)

    def _uniform(self, numbers: range, stream: int) -> Float[np.ndarray, "batch 8"]:
        """Return numbers within (0, 1) that depend on the seed, the stream and each pair's own number alone.

        One generator serves all pairs, because one for each took 3.5 ms for 96 pairs (docs/experiments.md).

        Source: Philox, a random number generator that starts at any counter (Salmon et al., "Parallel random numbers:
        as easy as 1, 2, 3", 2011).
        """
        key = np.array([self._seed, stream], np.uint64)
        generator = np.random.Philox(key=key, counter=numbers.start * _DRAWS // _DRAWS_PER_COUNT)
        drawn = generator.random_raw(len(numbers) * _DRAWS).reshape(-1, _DRAWS)
        return ((drawn >> np.uint64(12)) + 0.5) * 2.0**-52  # exact in 53 bits, so neither 0 nor 1 occurs

    def _colors(
        self, numbers: range, device: torch.device
    ) -> tuple[Float[Tensor, "batch 3 3"], Float[Tensor, "batch 3"]]:
        """Return the colour matrix and offset of each pair: gains, contrast about grey, saturation and brightness."""
        strength = self._settings.color
        draws = ndtri(self._uniform(numbers, _STREAM + 2)[:, :6])
        gains, contrast, saturation, brightness = np.split(draws.clip(-2, 2) * strength, (3, 4, 5), axis=1)
        keep = np.exp(2 * saturation)[:, :, None]
        matrix = (keep * np.eye(3) + (1 - keep) / 3) * np.exp(gains + contrast)[:, :, None]
        shift = brightness / 2 + _GREY * (1 - np.exp(contrast))
        return _to_device(matrix.astype(np.float32), device), _to_device(shift.astype(np.float32), device).expand(-1, 3)

    def _camera_jitter(self, numbers: range, size: int, device: torch.device) -> CameraJitter:
        settings = self._settings
        draws = ndtri(self._uniform(numbers, _STREAM + 3)[:, :4]).clip(-2, 2)
        draws *= (settings.roll_deg, settings.zoom, settings.shift * size, settings.shift * size)
        roll, zoom, across, down = _to_device(draws.astype(np.float32), device).unbind(dim=1)
        return CameraJitter(roll, zoom.exp(), torch.stack((across, down), dim=1))


def _to_device(array: np.ndarray, device: torch.device) -> Tensor:
    """Copy an array to a device without waiting for the GPU's earlier work."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def mirrored_source(source: SourceBatch, indices: MirrorIndices) -> SourceBatch:
    """Return the sources as a mirror image would show them."""
    return SourceBatch(
        image=source.image.flip(-1),
        head_mask=source.head_mask.flip(-1),
        valid=source.valid.flip(-1),
        depth=source.depth.flip(-1),
        normals=mirror_points(source.normals.flip(-1).movedim(1, -1)).movedim(-1, 1),
        landmarks=mirror_points(source.landmarks[:, indices.landmarks]),
        expression=source.expression[:, indices.expression],
        head_to_camera=_mirrored_pose(source.head_to_camera),
        intrinsics=_mirrored_camera(source.intrinsics, source.image.shape[-1]),
    )


def mirrored_driver(driver: DriverBatch, indices: MirrorIndices, width: int) -> DriverBatch:
    """Return the drivers of mirrored heads, in images `width` pixels wide."""
    return DriverBatch(
        expression=driver.expression[:, indices.expression],
        head_to_camera=_mirrored_pose(driver.head_to_camera),
        intrinsics=_mirrored_camera(driver.intrinsics, width),
    )


def mirrored_target(target: TargetBatch, indices: MirrorIndices) -> TargetBatch:
    """Return the mirror images of the targets."""
    landmarks_px = target.landmarks_px[:, indices.landmarks]
    landmarks_px[..., 0] = target.image.shape[-1] - landmarks_px[..., 0]
    return TargetBatch(target.image.flip(-1), target.head_mask.flip(-1), target.valid.flip(-1), landmarks_px)


def mirrored_tracks(tracks: TrackBatch, indices: MirrorIndices) -> TrackBatch:
    """Return the mirror images of landmarks, with the expressions that go with them."""
    return TrackBatch(
        source_landmarks=mirror_points(tracks.source_landmarks[:, indices.landmarks]),
        target_landmarks=mirror_points(tracks.target_landmarks[:, indices.landmarks]),
        source_expression=tracks.source_expression[:, indices.expression],
        target_expression=tracks.target_expression[:, indices.expression],
    )


def _mirrored_pose(head_to_camera: Float[Tensor, "batch 4 4"]) -> Float[Tensor, "batch 4 4"]:
    """Return the pose of the mirrored head in the mirrored camera: x changes its sign in both."""
    mirrored = head_to_camera.clone()
    mirrored[:, 0].neg_()
    mirrored[:, :, 0].neg_()
    return mirrored


def _mirrored_camera(intrinsics: Float[Tensor, "batch 3 3"], width: int) -> Float[Tensor, "batch 3 3"]:
    mirrored = intrinsics.clone()
    mirrored[:, 0, 2] = width - intrinsics[:, 0, 2]
    return mirrored


def _recolored(
    image: Float[Tensor, "batch 3 height width"], gain: Float[Tensor, "batch 3 3"], shift: Float[Tensor, "batch 3"]
) -> Float[Tensor, "batch 3 height width"]:
    recolored = torch.einsum("bij,bjhw->bihw", gain, image) + shift[:, :, None, None]
    return recolored.clamp(0, 1)


def _where(is_first: Bool[Tensor, " batch"], first: BatchT, second: BatchT) -> BatchT:
    """Return a batch that takes each entry from `first` or from `second`, as `torch.where` does."""
    selected = {
        entry.name: torch.where(
            is_first.reshape(-1, *[1] * (getattr(first, entry.name).ndim - 1)),
            getattr(first, entry.name),
            getattr(second, entry.name),
        )
        for entry in dataclasses.fields(first)
    }
    return type(first)(**selected)
