"""Records that travel between the stages: one frozen type per boundary, and the rejection that each may give instead.

recipe -> ingest -> VideoRecord -> track -> ClipTrack -> shards -> ShardSample -> train, evaluate
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, TypeVar

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int16, Int32, UInt8, UInt16

InputT = TypeVar("InputT", contravariant=True)
OutputT = TypeVar("OutputT", covariant=True)


class Split(StrEnum):
    """Part of the data set that a video belongs to."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


class AudioState(StrEnum):
    """State of a clip's audio.

    PRESENT: there is audio. SILENT: an audio stream with nothing but digital silence. BROKEN: an audio stream that
    cannot be decoded. NONE: no audio stream.
    """

    PRESENT = "present"
    SILENT = "silent"
    BROKEN = "broken"
    NONE = "none"

    @property
    def has_member(self) -> bool:
        """Whether the clip's samples have an audio member."""
        return self in {AudioState.PRESENT, AudioState.SILENT}


class RejectReason(StrEnum):
    """Reason why an input was left out."""

    MISSING_FILE = "MISSING_FILE"
    DOWNLOAD_FAILED = "DOWNLOAD_FAILED"
    TOO_LARGE = "TOO_LARGE"
    CHECKSUM_MISMATCH = "CHECKSUM_MISMATCH"
    EMPTY_FILE = "EMPTY_FILE"
    UNSUPPORTED_FILE = "UNSUPPORTED_FILE"
    NO_VIDEO_STREAM = "NO_VIDEO_STREAM"
    DUPLICATE = "DUPLICATE"
    BOX_OUTSIDE_FRAME = "BOX_OUTSIDE_FRAME"
    DECODE_ERROR = "DECODE_ERROR"
    DECODE_TIMEOUT = "DECODE_TIMEOUT"
    CRASHED = "CRASHED"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    NO_FACE = "NO_FACE"
    MULTIPLE_FACES = "MULTIPLE_FACES"
    FACE_TOO_SMALL = "FACE_TOO_SMALL"
    EXTREME_POSE = "EXTREME_POSE"
    BLURRED = "BLURRED"
    HAND_OVER_FACE = "HAND_OVER_FACE"
    LOW_CONFIDENCE = "LOW_CONFIDENCE"
    TOO_SHORT = "TOO_SHORT"
    NO_HEAD = "NO_HEAD"


@dataclass(frozen=True, slots=True)
class Rejected:
    """An input left out on purpose; counted, and written beside what was kept."""

    key: str
    reason: RejectReason
    detail: str = ""


class Stage(Protocol[InputT, OutputT]):
    """One record in; zero or more records or rejections out. Models load in __init__; __call__ is retry-safe."""

    def __call__(self, record: InputT) -> Iterator[OutputT | Rejected]:
        """Yield the results or rejections of `record`."""
        ...


@dataclass(frozen=True, slots=True)
class VideoRecord:
    """One input video, or one interval of it that the recipe names.

    Attributes:
        video_id: first 16 hex digits of `sha256`; an interval adds its ends in milliseconds (`...-00014000-00019700`),
            a box 8 digits of its own hash (`...-b1f0c3a97`).
        path: of the file: absolute, or relative to the directory that the pipeline runs in.
        start_s, end_s: the interval in seconds of presentation time; the whole file is 0 and infinity.
        fps: average frame rate as the container states it. num_frames, duration_s: likewise, 0 if it states none.
        identity: the recipe's label, or `video:` and the sha256 prefix where it has none.
        license: SPDX name from the recipe, or `unknown`.
        name: the input's name in the recipe, for people: a path relative to the recipe's folder.
        box: left, top, right and bottom of the main face, or of its surroundings, in pixels of the upright frame;
            empty if the recipe states none.
        split_stated: whether the recipe states the split; otherwise the identity determines it.
    """

    video_id: str
    path: str
    sha256: str
    size_bytes: int
    start_s: float
    end_s: float
    width: int
    height: int
    fps: float
    num_frames: int
    duration_s: float
    has_audio: bool
    identity: str
    license: str
    split: Split
    name: str
    box: tuple[float, ...] = ()
    split_stated: bool = False

    def __post_init__(self) -> None:
        """Accept the box as a list too, because JSON and Parquet have no tuples."""
        object.__setattr__(self, "box", tuple(self.box))


@dataclass(frozen=True, slots=True)
class VideoPart:
    """The unit of tracking: a video, or one of the parts that a long video is cut into, so that memory stays bounded.

    Attributes:
        number: index of this part, from 0; the last of `num_parts` ends with the video.
    """

    video: VideoRecord
    number: int = 0
    num_parts: int = 1

    @property
    def name(self) -> str:
        """The video's name, with the part's number if there are several."""
        return self.video.name if self.num_parts == 1 else f"{self.video.name}#{self.number}"


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of consecutive resampled frames of a video with one status: kept as `clip_id`, or dropped for `reason`."""

    video_id: str
    start_frame: int
    num_frames: int
    clip_id: str | None
    reason: RejectReason | None


@dataclass(frozen=True, slots=True, eq=False)
class ClipTrack:
    """A clip of a video with one face and no cut, at a constant frame rate, with its tracks.

    Pixels are those of the video frame, centres at +0.5. Head space is canonical: centimetres, x = 0 the symmetry
    plane, +x the person's left, +y up, +z out of the face. Camera axes are OpenCV's.

    Attributes:
        clip_id: `video_id` and `start_frame` (`...-f000120`).
        start_frame: index of its first frame among the resampled frames of the video.
        times_s: presentation time of the decoded frame behind each clip frame.
        frame_index: its index in the video.
        landmarks_px: image position of every landmark.
        landmarks: the same landmarks in head space; they project exactly onto `landmarks_px`.
        neutral_landmarks: the clip's rigid, symmetric head shape in head space, without expression.
        expression: coefficients in [0, 1], in the order of `expression_names`.
        face_size: side of the square with the area of the landmarks' bounding box, in pixels.
        sharpness: variance of the Laplacian of the green values of the face at 96 px.
        confidence: fraction of the landmarks that are detected where the rigid shape projects, 0 to 1; low where the
            landmarker lost the face, or something covers it.
        hand_over_face: fraction of the face that hands cover, 0 to 1; measured every few frames, and kept in between.
        num_faces: number of faces in the frame, this one included.
    """

    clip_id: str
    video: VideoRecord
    start_frame: int
    fps: float
    landmark_set: str
    expression_names: tuple[str, ...]
    intrinsics: Float64[np.ndarray, "3 3"]
    times_s: Float64[np.ndarray, " num_frames"]
    frame_index: Int32[np.ndarray, " num_frames"]
    landmarks_px: Float32[np.ndarray, "num_frames num_landmarks 2"]
    landmarks: Float32[np.ndarray, "num_frames num_landmarks 3"]
    neutral_landmarks: Float32[np.ndarray, "num_landmarks 3"]
    head_to_camera: Float32[np.ndarray, "num_frames 4 4"]
    expression: Float32[np.ndarray, "num_frames num_coefficients"]
    face_size: Float32[np.ndarray, " num_frames"]
    sharpness: Float32[np.ndarray, " num_frames"]
    confidence: Float32[np.ndarray, " num_frames"]
    hand_over_face: Float32[np.ndarray, " num_frames"]
    num_faces: Float32[np.ndarray, " num_frames"]

    @property
    def num_frames(self) -> int:
        """Number of frames of the clip."""
        return len(self.frame_index)


@dataclass(frozen=True, slots=True)
class TrackedVideo:
    """The result of tracking a video, or one part of it: its clips, if any, and the status of every resampled frame."""

    video: VideoRecord
    clips: tuple[ClipTrack, ...]
    segments: tuple[Segment, ...]
    part: int = 0


@dataclass(frozen=True, slots=True)
class ShardSample:
    """One WebDataset sample: up to 64 consecutive frames of a clip as encoded members.

    Attributes:
        key: `clip_id` and the chunk's number (`...-f000120-0000`); no dots, because WebDataset splits names at them.
        members: member suffix (`000.rgb.jpg`, `tracks.npz`) -> encoded bytes, in the order of the tar.
        meta: the content of `meta.json`, which is written first; `index.parquet` is made from it too.
    """

    key: str
    clip_id: str
    video_id: str
    identity: str
    license: str
    split: Split
    num_frames: int
    source_frames: tuple[int, ...]
    members: Mapping[str, bytes]
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class HeadFrame:
    """One frame of a clip's fixed square crop, read back from the shards. Pixels are the crop's, centres at +0.5.

    Attributes:
        head_mask: the head, with hair, without neck and shoulders. valid: false where the crop leaves the video frame.
        landmarks: in head space, cm; they project onto `landmarks_px` through `head_to_camera` and `intrinsics`.
    """

    image: UInt8[np.ndarray, "size size 3"]
    head_mask: Bool[np.ndarray, "size size"]
    valid: Bool[np.ndarray, "size size"]
    landmarks_px: Float32[np.ndarray, "num_landmarks 2"]
    landmarks: Float32[np.ndarray, "num_landmarks 3"]
    expression: Float32[np.ndarray, " num_coefficients"]
    head_to_camera: Float32[np.ndarray, "4 4"]
    intrinsics: Float32[np.ndarray, "3 3"]


@dataclass(frozen=True, slots=True, eq=False)
class SourceFrame:
    """A frame with geometry, from which a head can be reconstructed.

    Attributes:
        depth: z in the camera frame in cm; 0 where unknown. normals: unit, camera frame, towards the camera (z < 0).
    """

    frame: HeadFrame
    depth: Float32[np.ndarray, "size size"]
    normals: Float32[np.ndarray, "size size 3"]


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedSource:
    """A frame with geometry as the shards store it: a quarter of the bytes of a `SourceFrame`.

    Attributes:
        depth_units: times `depth_scale`, depth in cm; 0 = unknown.
        normal_colors: unit normals n as (n / 2 + 1 / 2) * 255; (0, 0, 0) = unknown.
    """

    frame: HeadFrame
    depth_units: UInt16[np.ndarray, "size size"]
    depth_scale: float
    normal_colors: UInt8[np.ndarray, "size size 3"]


@dataclass(frozen=True, slots=True, eq=False)
class HeadCloud:
    """The symmetric point cloud of one source frame in head space: visible points first, then mirrored ones.

    Attributes:
        source_pixel: column and row of the crop pixel that a point, or the visible point that it mirrors, comes from.
        mirrored_of: for a mirrored point the index of the visible point that it mirrors; -1 for visible points.
    """

    positions: Float32[np.ndarray, "num_points 3"]
    normals: Float32[np.ndarray, "num_points 3"]
    source_pixel: Int16[np.ndarray, "num_points 2"]
    mirrored_of: Int32[np.ndarray, " num_points"]
