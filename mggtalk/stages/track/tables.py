"""Tracks at rest: one Parquet file per video or part of one, with all that became of it, and tables of all clips.

A file is written whole or not at all and is named by its content key, so a rerun skips what is finished. Its rows are
the frames of the clips; what belongs to a clip or to the video stands in the schema's metadata as JSON.
"""

import io
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float32
from pyarrow import parquet

from mggtalk.errors import StageError
from mggtalk.records import ClipTrack, Rejected, RejectReason, Segment, Split, TrackedVideo, VideoRecord
from mggtalk.stages.tables import write_rows
from mggtalk.stages.track.quality import clip_quality

TRACK_VERSION = 2
KEPT = "KEPT"
_FRAME_ARRAYS = {
    "landmarks_px": (-1, 2),
    "landmarks": (-1, 3),
    "head_to_camera": (4, 4),
    "expression": (-1,),
    "face_size": (),
    "sharpness": (),
    "confidence": (),
    "hand_over_face": (),
    "num_faces": (),
}


def dump_track(result: TrackedVideo | Rejected, part: int = 0) -> bytes:
    """Return the bytes of a track file: the same for the same result of the same part."""
    content: dict[str, Any] = {"version": TRACK_VERSION, "part": part}
    clips: tuple[ClipTrack, ...] = ()
    if isinstance(result, Rejected):
        content["rejected"] = asdict(result)
    else:
        clips = result.clips
        content["video"] = asdict(result.video)
        content["segments"] = [asdict(segment) for segment in result.segments]
        content["clips"] = [_clip_header(clip) for clip in clips]
    table = pa.concat_tables([_frame_table(clip) for clip in clips]) if clips else _empty_table()
    table = table.replace_schema_metadata({"mggtalk": json.dumps(content, sort_keys=True)})
    sink = io.BytesIO()
    parquet.write_table(table, sink, compression="zstd", store_schema=True, write_page_checksum=True)
    return sink.getvalue()


def load_track(path: Path) -> tuple[TrackedVideo | Rejected, int]:
    """Return what `dump_track` wrote: the result, and the number of the part that it is of.

    Raises:
        StageError: the file is no track file, is damaged, or was written by another version.
    """
    try:
        table = parquet.read_table(path, page_checksum_verification=True)
        content = json.loads(table.schema.metadata[b"mggtalk"])
        version = content["version"]
        if version == TRACK_VERSION:
            return _result(content, table), int(content["part"])
    except (OSError, KeyError, TypeError, ValueError) as cause:
        raise StageError(f"{path}: not a track file, or damaged: {cause}; run the track stage again") from cause
    raise StageError(f"{path}: track version {version}, expected {TRACK_VERSION}; run the track stage again")


@dataclass(frozen=True, slots=True)
class ClipRow:
    """What people look up and plan by; the tracks themselves stay in the track files.

    Attributes:
        start_s: presentation time of the first frame.
        face_size, sharpness, confidence, hand_over_face: means over the frames. num_faces: the most in any frame.
        reprojection_percent, mirror_residual_mm, jitter_mm, max_yaw_deg: see `ClipQuality`.
    """

    clip_id: str
    name: str
    identity: str
    license: str
    split: Split
    fps: float
    num_frames: int
    start_s: float
    face_size: float
    sharpness: float
    confidence: float
    hand_over_face: float
    num_faces: int
    reprojection_percent: float
    mirror_residual_mm: float
    jitter_mm: float
    max_yaw_deg: float


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """The status of a run of frames: `outcome` is `KEPT` (then `clip_id` names the clip) or a `RejectReason`."""

    video_id: str
    name: str
    start_frame: int
    num_frames: int
    outcome: str
    clip_id: str


def write_clip_table(path: Path, tracked: Iterable[TrackedVideo]) -> None:
    """Write one row for every clip, in the order of ids."""
    rows = [
        ClipRow(
            clip_id=clip.clip_id,
            name=video.video.name,
            identity=clip.video.identity,
            license=clip.video.license,
            split=clip.video.split,
            fps=clip.fps,
            num_frames=clip.num_frames,
            start_s=float(clip.times_s[0]),
            face_size=float(clip.face_size.mean()),
            sharpness=float(clip.sharpness.mean()),
            confidence=float(clip.confidence.mean()),
            hand_over_face=float(clip.hand_over_face.mean()),
            num_faces=int(clip.num_faces.max()),
            **asdict(clip_quality(clip)),
        )
        for video in tracked
        for clip in video.clips
    ]
    write_rows(path, sorted(rows, key=lambda row: row.clip_id), ClipRow)


def write_segment_table(path: Path, parts: Iterable[TrackedVideo | Rejected]) -> None:
    """Write what became of every resampled frame, in runs, by video and frame; what was not read has no frames."""
    rows = [
        SegmentRow(
            video_id=segment.video_id,
            name=video.video.name,
            start_frame=segment.start_frame,
            num_frames=segment.num_frames,
            outcome=str(segment.reason or KEPT),
            clip_id=segment.clip_id or "",
        )
        for video in parts
        if isinstance(video, TrackedVideo)
        for segment in video.segments
    ]
    write_rows(path, sorted(rows, key=lambda row: (row.video_id, row.start_frame)), SegmentRow)


def _result(content: dict[str, Any], table: pa.Table) -> TrackedVideo | Rejected:
    if "rejected" in content:
        rejected = content["rejected"]
        return Rejected(rejected["key"], RejectReason(rejected["reason"]), rejected["detail"])
    video = VideoRecord(**{**content["video"], "split": Split(content["video"]["split"])})
    segments = tuple(
        Segment(**{**segment, "reason": segment["reason"] and RejectReason(segment["reason"])})
        for segment in content["segments"]
    )
    clips, start = [], 0
    for header in content["clips"]:
        clips.append(_clip(video, header, table.slice(start, header["num_frames"])))
        start += header["num_frames"]
    return TrackedVideo(video, tuple(clips), segments, content["part"])


def _clip_header(clip: ClipTrack) -> dict[str, Any]:
    return {
        "clip_id": clip.clip_id,
        "num_frames": clip.num_frames,
        "start_frame": clip.start_frame,
        "fps": clip.fps,
        "landmark_set": clip.landmark_set,
        "expression_names": clip.expression_names,
        "intrinsics": clip.intrinsics.tolist(),
        "neutral_landmarks": clip.neutral_landmarks.tolist(),
    }


def _frame_table(clip: ClipTrack) -> pa.Table:
    columns = {
        "clip_id": pa.array([clip.clip_id] * clip.num_frames),
        "times_s": pa.array(clip.times_s),
        "frame_index": pa.array(clip.frame_index),
    }
    for name in _FRAME_ARRAYS:
        values: np.ndarray = getattr(clip, name).reshape(clip.num_frames, -1)
        columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    return pa.table(columns)


def _empty_table() -> pa.Table:
    return pa.table({"clip_id": pa.array([], pa.string())})


def _clip(video: VideoRecord, header: dict[str, Any], frames: pa.Table) -> ClipTrack:
    arrays = {name: _array(frames, name, shape) for name, shape in _FRAME_ARRAYS.items()}
    return ClipTrack(
        clip_id=header["clip_id"],
        video=video,
        start_frame=header["start_frame"],
        fps=header["fps"],
        landmark_set=header["landmark_set"],
        expression_names=tuple(header["expression_names"]),
        intrinsics=np.array(header["intrinsics"]),
        neutral_landmarks=np.array(header["neutral_landmarks"], dtype=np.float32),
        times_s=frames["times_s"].to_numpy(),
        frame_index=frames["frame_index"].to_numpy(),
        **arrays,
    )


def _array(frames: pa.Table, name: str, shape: tuple[int, ...]) -> Float32[np.ndarray, "num_frames ..."]:
    flat = frames[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(flat.reshape(len(frames), *shape))
