"""Embeds the faces of a few good frames of every clip of a tracked video.

The frames are chosen from the tracks alone (`choose_faces`), where these are read; a worker gets their numbers and
landmarks, decodes them, and hands back 128 numbers a clip. `resolution.py` derives identities from them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from jaxtyping import Float, Float32, Float64, Int32, UInt8

from mggtalk.records import ClipTrack, TrackedVideo, VideoRecord
from mggtalk.video.decode import open_video

# The mean of 8 faces tells people apart better than that of 4 or 1 (docs/experiments.md); each costs 0.1 s.
FACES_PER_CLIP = 8
_LEAST_FACES_A_PERSON = 2


class FaceEncoder(Protocol):
    """Turns a face into an embedding; the Euclidean distance of two tells how alike the faces are."""

    def encode(
        self, image: UInt8[np.ndarray, "height width 3"], landmarks_px: Float[np.ndarray, "num_landmarks 2"]
    ) -> Float32[np.ndarray, " size"]:
        """Return the embedding of the face whose landmarks are given in pixels (centres at +0.5)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class ClipFaces:
    """The faces of a clip that are embedded: indices of frames of the video, rising, and landmarks."""

    clip_id: str
    frame_index: Int32[np.ndarray, " num_faces"]
    landmarks_px: Float32[np.ndarray, "num_faces num_landmarks 2"]


@dataclass(frozen=True, slots=True, eq=False)
class VideoFaces:
    """The faces of all clips of a video."""

    video: VideoRecord
    clips: tuple[ClipFaces, ...]

    @property
    def name(self) -> str:
        """Name of the video in the recipe."""
        return self.video.name


@dataclass(frozen=True, slots=True)
class ClipEmbedding:
    """The face embedding of a clip; plain values, because it is a row of a table as well.

    Attributes:
        embedding: the mean over the clip's faces.
        change: the largest distance between the mean of its first faces and that of the others, wherever the clip is
            parted; large where the person changes. 0 with fewer than 4 faces.
    """

    clip_id: str
    embedding: tuple[float, ...]
    change: float
    num_faces: int


class IdentityStage:
    """One `VideoFaces` in; a `ClipEmbedding` for each of its clips out.

    Args:
        encoder: builds the encoder; called here, in the worker.
    """

    def __init__(self, encoder: Callable[[], FaceEncoder]) -> None:
        self._encoder = encoder()

    def __call__(self, record: VideoFaces) -> Iterator[ClipEmbedding]:
        """Yield the embeddings in the order of the clips.

        Raises:
            VideoError: the video can no longer be decoded.
        """
        faces = defaultdict(list)
        for clip in record.clips:
            for index, landmarks_px in zip(clip.frame_index.tolist(), clip.landmarks_px, strict=True):
                faces[index].append((clip.clip_id, landmarks_px))
        reader = open_video(record.video.path).reader
        embeddings = defaultdict(list)
        for index, image in zip(sorted(faces), reader.frames(sorted(faces)), strict=True):
            for clip_id, landmarks_px in faces[index]:
                embeddings[clip_id].append(self._encoder.encode(image, landmarks_px))
        for clip in record.clips:
            yield _clip_embedding(clip.clip_id, np.stack(embeddings[clip.clip_id]))


def choose_video_faces(tracked: TrackedVideo) -> VideoFaces:
    """Return the faces of a video that are embedded."""
    return VideoFaces(tracked.video, tuple(choose_faces(clip) for clip in tracked.clips))


def choose_faces(clip: ClipTrack, count: int = FACES_PER_CLIP) -> ClipFaces:
    """Return a face of each of `count` even parts of the clip: of the sharper half of its frames the most frontal one.

    A frame that stands for several of the clip is taken once.
    """
    frontal, sharpness = _cosine_to_camera(clip), clip.sharpness
    bounds = np.linspace(0, clip.num_frames, min(count, clip.num_frames) + 1).round().astype(int)
    chosen = []
    for start, stop in pairwise(bounds):
        sharp = start + np.flatnonzero(sharpness[start:stop] >= np.median(sharpness[start:stop]))
        chosen.append(int(sharp[np.argmax(frontal[sharp])]))
    _, first = np.unique(clip.frame_index[chosen], return_index=True)
    frames = np.array(chosen)[first]
    return ClipFaces(clip.clip_id, clip.frame_index[frames], clip.landmarks_px[frames])


def _cosine_to_camera(clip: ClipTrack) -> Float64[np.ndarray, " num_frames"]:
    """Return the cosine between where the face looks (+z of head space) and where the camera is, for each frame."""
    forward = clip.head_to_camera[:, :3, 2].astype(np.float64)
    position = clip.head_to_camera[:, :3, 3].astype(np.float64)
    cosine: Float64[np.ndarray, " num_frames"] = -(forward * position).sum(-1) / np.linalg.norm(position, axis=-1)
    return cosine


def _clip_embedding(clip_id: str, faces: Float32[np.ndarray, "num_faces size"]) -> ClipEmbedding:
    num_faces = len(faces)
    parts = range(_LEAST_FACES_A_PERSON, num_faces - _LEAST_FACES_A_PERSON + 1)
    changes = [float(np.linalg.norm(faces[:part].mean(0) - faces[part:].mean(0))) for part in parts]
    return ClipEmbedding(clip_id, tuple(faces.mean(0).tolist()), max(changes, default=0.0), num_faces)
