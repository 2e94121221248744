"""Defines the interfaces of the evaluation: reenactor, face measurer, identity encoder and reader of clips."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np
from jaxtyping import Float, Float32, UInt8

from mggtalk.perception.landmarks.face_measurement import FaceMeasurement
from mggtalk.records import HeadCloud, HeadFrame, SourceFrame

AvatarT = TypeVar("AvatarT")


class Reenactor(Protocol[AvatarT]):
    """Reconstructs an avatar from one source frame, and renders it under a driver's expression and pose."""

    @property
    def resolution(self) -> int:
        """Side in pixels of sources and renders."""
        ...

    def reconstruct(self, source: SourceFrame, /) -> AvatarT:
        """Return the avatar of the person in `source`."""
        ...

    def render(
        self,
        avatar: AvatarT,
        expression: Float32[np.ndarray, " num_coefficients"],
        head_to_camera: Float32[np.ndarray, "4 4"],
        /,
    ) -> UInt8[np.ndarray, "resolution resolution 3"]:
        """Render `avatar` in the crop of its source; the image is complete when the call returns."""
        ...

    def num_gaussians(self, avatar: AvatarT, /) -> int:
        """Return the number of Gaussians rasterised for `avatar`."""
        ...


class FaceMeasurer(Protocol):
    """Measures landmarks, expression and pose in one image."""

    @property
    def name(self) -> str:
        """Name of the backend, for the protocol."""
        ...

    def measure(self, image: UInt8[np.ndarray, "height width 3"]) -> FaceMeasurement | None:
        """Measure the face in `image`; None if there is none."""
        ...


class IdentityEncoder(Protocol):
    """Embeds faces so that the cosine of two embeddings tells identities apart."""

    @property
    def name(self) -> str:
        """Name of the network, for the protocol."""
        ...

    def encode(
        self, image: UInt8[np.ndarray, "height width 3"], landmarks_px: Float[np.ndarray, "num_landmarks 2"]
    ) -> Float32[np.ndarray, " num_features"]:
        """Return the embedding of the face with these landmarks."""
        ...


class ClipEntry(Protocol):
    """One clip of the shards' index."""

    @property
    def clip_id(self) -> str:
        """Name of the clip."""
        ...

    @property
    def identity(self) -> str:
        """Label of the person."""
        ...

    @property
    def num_frames(self) -> int:
        """Number of frames."""
        ...

    @property
    def source_frames(self) -> Sequence[int]:
        """Frames that have geometry, in order."""
        ...


class ClipMeta(Protocol):
    """Metadata of a clip."""

    @property
    def fps(self) -> float:
        """Frames per second."""
        ...


class ClipReader(Protocol):
    """Reads frames of clips at a chosen resolution."""

    def meta(self, clip_id: str) -> ClipMeta:
        """Return the metadata of the clip."""
        ...

    def head_frame(self, clip_id: str, frame: int, size: int) -> HeadFrame:
        """Return one frame, scaled to `size`."""
        ...

    def source_frame(self, clip_id: str, frame: int, size: int) -> SourceFrame:
        """Return one frame with its geometry, scaled to `size`."""
        ...

    def cloud(self, clip_id: str, frame: int) -> HeadCloud:
        """Return the symmetric point cloud of one source frame."""
        ...
