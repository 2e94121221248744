"""Schema version, member names and metadata of a sample; `docs/shards.md` describes the same for people.

Any change here, or in the encoding of a member, needs a new `SCHEMA_VERSION`, because readers refuse unknown versions.
"""

import dataclasses
import json
import re
from dataclasses import field
from typing import Any

from mggtalk.config import config, validate
from mggtalk.errors import SchemaVersionError, ShardError
from mggtalk.records import AudioState, Split

SCHEMA_VERSION = 2

# Chunk n of a clip holds its frames 64 n to 64 n + 63, so a frame's chunk needs no look-up.
CHUNK_FRAMES = 64

INDEX_NAME = "index.parquet"
META_MEMBER = "meta.json"
TRACKS_MEMBER = "tracks.npz"
AUDIO_MEMBER = "audio.flac"

# WebDataset splits a tar member's name at its first dot, and the prefix tree needs ids that begin with a hash.
_CLIP_ID = re.compile(r"[0-9a-f]{16}[0-9A-Za-z_-]*")


def rgb_member(frame: int) -> str:
    """Return the member name of the image of frame `frame` of the sample."""
    return f"{frame:03d}.rgb.jpg"


def head_member(frame: int) -> str:
    """Return the member name of the frame's head mask."""
    return f"{frame:03d}.head.png"


def depth_member(frame: int) -> str:
    """Return the member name of the frame's depth map (source frames only)."""
    return f"{frame:03d}.depth.png"


def normal_member(frame: int) -> str:
    """Return the member name of the frame's normal map (source frames only)."""
    return f"{frame:03d}.normal.png"


def cloud_member(frame: int) -> str:
    """Return the member name of the frame's symmetric point cloud (source frames only)."""
    return f"{frame:03d}.cloud.npz"


def sample_key(clip_id: str, start_frame: int) -> str:
    """Return the WebDataset key of the chunk of `clip_id` that begins at its frame `start_frame`.

    Raises:
        ValueError: the id is not 16 hex digits and then letters, digits, `-`, `_`; or no chunk begins at that frame.
    """
    if not _CLIP_ID.fullmatch(clip_id):
        raise ValueError(f"clip id {clip_id!r}: expected 16 hex digits, then letters, digits, '-' or '_' only")
    if start_frame < 0 or start_frame % CHUNK_FRAMES:
        raise ValueError(f"{clip_id}: chunks begin at multiples of {CHUNK_FRAMES} frames, got {start_frame}")
    return f"{clip_id}-{start_frame // CHUNK_FRAMES:04d}"


def member_names(num_frames: int, source_frames: tuple[int, ...], *, has_audio: bool) -> tuple[str, ...]:
    """Return a sample's members without `meta.json`, in the order of the tar: the whole sample's, then by frame."""
    names = [TRACKS_MEMBER, *([AUDIO_MEMBER] if has_audio else [])]
    for frame in range(num_frames):
        names += [rgb_member(frame), head_member(frame)]
        if frame in source_frames:
            names += [depth_member(frame), normal_member(frame), cloud_member(frame)]
    return tuple(names)


Row3 = tuple[float, float, float]


@config
class SampleMeta:
    """The content of `meta.json`.

    Attributes:
        name: the video's name in the recipe, for people.
        start_frame: index of the sample's first frame within the clip, a multiple of 64.
        source_frames: the frames with geometry, counted within the sample, ascending.
        size: side of the square crop in pixels.
        intrinsics: 3x3, pixels of the crop.
        video_to_crop: 2x3 similarity from pixels of the video frame to pixels of the crop.
        valid_box: x0, y0, x1, y1 of the video frame's extent, in crop pixels; pixels outside are invalid.
        depth_scale: centimetres per unit of the 16-bit depth, one per source frame; `encode_sample` sets it.
        audio: state of the whole clip's audio; the sample has an audio member unless it is `broken` or `none`.
        audio_dbfs: root mean square of the sample's audio in dB relative to full scale; None for silence or no audio.
        perception: names, model hashes and parameters that made masks, depth, normals and clouds.
    """

    clip_id: str
    video_id: str
    video_sha256: str
    name: str
    identity: str
    license: str
    split: Split
    fps: float
    start_frame: int
    num_frames: int
    clip_num_frames: int
    source_frames: tuple[int, ...]
    size: int
    intrinsics: tuple[Row3, Row3, Row3]
    video_to_crop: tuple[Row3, Row3]
    valid_box: tuple[float, float, float, float]
    landmark_set: str
    expression_names: tuple[str, ...]
    audio: AudioState
    audio_dbfs: float | None
    perception: dict[str, Any]
    depth_scale: tuple[float, ...] = ()
    schema_version: int = field(default=SCHEMA_VERSION)

    def __post_init__(self) -> None:
        """Check the rules that every sample must meet."""
        if not 0 < self.num_frames <= CHUNK_FRAMES:
            raise ValueError(f"num_frames: expected 1 to {CHUNK_FRAMES}, got {self.num_frames}")
        expected = min(CHUNK_FRAMES, self.clip_num_frames - self.start_frame)
        if self.num_frames != expected:
            raise ValueError(
                f"num_frames: got {self.num_frames}, expected {expected} at start_frame {self.start_frame} "
                f"of a clip of {self.clip_num_frames}"
            )
        if list(self.source_frames) != sorted(set(self.source_frames) & set(range(self.num_frames))):
            raise ValueError(
                f"source_frames: expected ascending numbers below {self.num_frames}, got {self.source_frames}"
            )
        if self.audio_dbfs is not None and self.audio is not AudioState.PRESENT:
            raise ValueError(f"audio_dbfs: expected none where audio is {self.audio!s}, got {self.audio_dbfs}")

    @property
    def key(self) -> str:
        """The sample's WebDataset key."""
        return sample_key(self.clip_id, self.start_frame)

    def to_mapping(self) -> dict[str, Any]:
        """Return the plain content of `meta.json`."""
        return dataclasses.asdict(self)


def dump_meta(meta: dict[str, Any]) -> bytes:
    """Return the bytes of `meta.json`: keys sorted, no spaces, UTF-8; equal content gives equal bytes."""
    text = json.dumps(meta, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def parse_meta(data: bytes, where: str) -> SampleMeta:
    """Return the metadata in `data`, the bytes of a `meta.json`.

    Args:
        where: shard, sample and member for messages.

    Raises:
        SchemaVersionError: another version of the schema. ShardError: no valid metadata.
    """
    try:
        content = json.loads(data)
    except ValueError as cause:
        raise ShardError(f"{where}: not JSON: {cause}") from None
    if not isinstance(content, dict):
        raise ShardError(f"{where}: expected a JSON object, got {type(content).__name__}")
    check_version(content.get("schema_version"), where)
    return validate(content, SampleMeta, where, ShardError)


def check_version(version: object, where: str) -> None:
    """Refuse every schema version except this reader's.

    Raises:
        SchemaVersionError: `version` is not `SCHEMA_VERSION`.
    """
    if version != SCHEMA_VERSION:
        raise SchemaVersionError(
            f"{where}: schema version {version!r}, this reader knows {SCHEMA_VERSION}; "
            "read it with the mggtalk that wrote it, or rerun `shards`"
        )
