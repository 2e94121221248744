"""Variety that few people do not have: pairs in other colours and in mirror images, a function of the pair's number."""

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
from mggtalk.training.data.camera_jitter import CameraMoves, moved_driver, moved_source, moved_target
from mggtalk.training.data.host_batch import Batch

_STREAM = 2
"""Draws for mirrors of pairs with pictures; of those for tracks, for colours and for cameras are the next ones."""
_DRAWS, _DRAWS_A_COUNT = 8, 4
"""Numbers drawn for a pair, and those that one step of Philox's counter gives."""
_GREY = 0.5
BatchT = TypeVar("BatchT", SourceBatch, DriverBatch, TargetBatch, TrackBatch)


@dataclass(frozen=True, slots=True, eq=False)
class Twins:
    """What becomes what in a mirror: the number of each landmark's and each expression coefficient's twin."""

    landmarks: Int64[Tensor, " num_landmarks"]
    expression: Int64[Tensor, " num_coefficients"]

    def to(self, device: torch.device | str) -> "Twins":
        """Return the same on a device."""
        return Twins(self.landmarks.to(device), self.expression.to(device))


def expression_twins(names: Sequence[str]) -> Int64[Tensor, " num_coefficients"]:
    """Return the number of the coefficient that each becomes in a mirror: `jawLeft` becomes `jawRight`.

    Raises:
        StageError: a side has no other, or none has a side, as in a basis of principal components.
    """
    numbers = {name: number for number, name in enumerate(names)}
    swapped = [_other_side(name) for name in names]
    missing = [name for name in swapped if name not in numbers]
    if missing or list(names) == swapped:
        raise StageError(
            "train.augment.mirror: expected expression coefficients in pairs of left and right, or mirror: false; "
            f"got {', '.join(names)}"
        )
    return torch.tensor([numbers[name] for name in swapped])


def _other_side(name: str) -> str:
    for side, other in (("Left", "Right"), ("Right", "Left")):
        if side in name:
            return name.replace(side, other)
    return name


class Augmentation:
    """Changes a batch; the same pair of a run is always changed in the same way, whichever worker has it."""

    def __init__(
        self, settings: AugmentConfig, seed: int, twins: Twins | None, device: torch.device | str = "cpu"
    ) -> None:
        """Keep what is asked for.

        Args:
            twins: of the shards; needed to mirror. device: where the batches are.
        """
        self._settings = settings
        self._seed = seed
        self._twins = twins.to(device) if twins else None

    def __call__(self, batch: Batch, pairs: range, track_pairs: range) -> Batch:
        """Return `batch` with the pairs of these numbers changed."""
        source, driver, target, tracks = batch
        device = source.image.device
        if self._settings.mirror and self._twins is not None:
            twins = self._twins
            is_mirrored = self._coins(pairs, _STREAM, device)
            source = _chosen(is_mirrored, mirrored_source(source, twins), source)
            driver = _chosen(is_mirrored, mirrored_driver(driver, twins, target.image.shape[-1]), driver)
            target = _chosen(is_mirrored, mirrored_target(target, twins), target)
            tracks = _chosen(self._coins(track_pairs, _STREAM + 1, device), mirrored_tracks(tracks, twins), tracks)
        if self._settings.moves_cameras:
            size = target.image.shape[-1]
            moves = self._moves(pairs, size, device)
            source, target = moved_source(source, moves), moved_target(target, moves)
            driver = moved_driver(driver, moves, size)
        if self._settings.color > 0:
            gain, shift = self._colors(pairs, device)
            source = dataclasses.replace(source, image=_recolored(source.image, gain, shift))
            target = dataclasses.replace(target, image=_recolored(target.image, gain, shift))
        return source, driver, target, tracks

    def _coins(self, numbers: range, stream: int, device: torch.device) -> Bool[Tensor, " batch"]:
        return _sent(self._uniform(numbers, stream)[:, 0] < 0.5, device)

    def _uniform(self, numbers: range, stream: int) -> Float[np.ndarray, "batch 8"]:
        """Return numbers within (0, 1) that follow from seed, stream and each pair's own number alone.

        Source: Philox, a random number generator that starts at any counter (Salmon et al., "Parallel random numbers:
        as easy as 1, 2, 3", 2011), at once for all pairs: a generator for each took 3.5 ms for 96
        (docs/experiments.md).
        """
        key = np.array([self._seed, stream], np.uint64)
        generator = np.random.Philox(key=key, counter=numbers.start * _DRAWS // _DRAWS_A_COUNT)
        drawn = generator.random_raw(len(numbers) * _DRAWS).reshape(-1, _DRAWS)
        return ((drawn >> np.uint64(12)) + 0.5) * 2.0**-52  # halves of 52 bits are exact, so neither 0 nor 1 comes up

    def _colors(
        self, numbers: range, device: torch.device
    ) -> tuple[Float[Tensor, "batch 3 3"], Float[Tensor, "batch 3"]]:
        """Return what colours are multiplied by and moved by: gains, contrast about grey, saturation, brightness."""
        strength = self._settings.color
        draws = ndtri(self._uniform(numbers, _STREAM + 2)[:, :6])
        gains, contrast, saturation, brightness = np.split(draws.clip(-2, 2) * strength, (3, 4, 5), axis=1)
        keep = np.exp(2 * saturation)[:, :, None]
        matrix = (keep * np.eye(3) + (1 - keep) / 3) * np.exp(gains + contrast)[:, :, None]
        shift = brightness / 2 + _GREY * (1 - np.exp(contrast))
        return _sent(matrix.astype(np.float32), device), _sent(shift.astype(np.float32), device).expand(-1, 3)

    def _moves(self, numbers: range, size: int, device: torch.device) -> CameraMoves:
        settings = self._settings
        draws = ndtri(self._uniform(numbers, _STREAM + 3)[:, :4]).clip(-2, 2)
        draws *= (settings.roll_deg, settings.zoom, settings.shift * size, settings.shift * size)
        roll, zoom, across, down = _sent(draws.astype(np.float32), device).unbind(dim=1)
        return CameraMoves(roll, zoom.exp(), torch.stack((across, down), dim=1))


def _sent(array: np.ndarray, device: torch.device) -> Tensor:
    """Return an array on a device, without waiting for the work that a GPU has before it."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def mirrored_source(source: SourceBatch, twins: Twins) -> SourceBatch:
    """Return what the camera would see in a mirror."""
    return SourceBatch(
        image=source.image.flip(-1),
        head_mask=source.head_mask.flip(-1),
        valid=source.valid.flip(-1),
        depth=source.depth.flip(-1),
        normals=mirror_points(source.normals.flip(-1).movedim(1, -1)).movedim(-1, 1),
        landmarks=mirror_points(source.landmarks[:, twins.landmarks]),
        expression=source.expression[:, twins.expression],
        head_to_camera=_mirrored_pose(source.head_to_camera),
        intrinsics=_mirrored_camera(source.intrinsics, source.image.shape[-1]),
    )


def mirrored_driver(driver: DriverBatch, twins: Twins, width: int) -> DriverBatch:
    """Return what drives the mirror image of a head, in pictures `width` pixels wide."""
    return DriverBatch(
        expression=driver.expression[:, twins.expression],
        head_to_camera=_mirrored_pose(driver.head_to_camera),
        intrinsics=_mirrored_camera(driver.intrinsics, width),
    )


def mirrored_target(target: TargetBatch, twins: Twins) -> TargetBatch:
    """Return the mirror images of what is expected."""
    landmarks_px = target.landmarks_px[:, twins.landmarks]
    landmarks_px[..., 0] = target.image.shape[-1] - landmarks_px[..., 0]
    return TargetBatch(target.image.flip(-1), target.head_mask.flip(-1), target.valid.flip(-1), landmarks_px)


def mirrored_tracks(tracks: TrackBatch, twins: Twins) -> TrackBatch:
    """Return the mirror images of landmarks with the expressions that go with them."""
    return TrackBatch(
        source_landmarks=mirror_points(tracks.source_landmarks[:, twins.landmarks]),
        target_landmarks=mirror_points(tracks.target_landmarks[:, twins.landmarks]),
        source_expression=tracks.source_expression[:, twins.expression],
        target_expression=tracks.target_expression[:, twins.expression],
    )


def _mirrored_pose(head_to_camera: Float[Tensor, "batch 4 4"]) -> Float[Tensor, "batch 4 4"]:
    """Return the pose of the mirrored head before the mirrored camera: both change the sign of x."""
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
    changed = torch.einsum("bij,bjhw->bihw", gain, image) + shift[:, :, None, None]
    return changed.clamp(0, 1)


def _chosen(is_first: Bool[Tensor, " batch"], first: BatchT, second: BatchT) -> BatchT:
    """Return a batch that has each of its entries from one of two."""
    chosen = {
        entry.name: torch.where(
            is_first.reshape(-1, *[1] * (getattr(first, entry.name).ndim - 1)),
            getattr(first, entry.name),
            getattr(second, entry.name),
        )
        for entry in dataclasses.fields(first)
    }
    return type(first)(**chosen)
