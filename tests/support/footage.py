"""Settings, records and synthetic videos for the tests of the stages `track` and `shards`."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mggtalk.geometry.head.landmark_sets import mediapipe_478
from mggtalk.records import ClipTrack, Split, TrackedVideo, VideoPart, VideoRecord
from mggtalk.stages.shards.config import ShardsConfig
from mggtalk.stages.track.config import TrackConfig
from mggtalk.stages.track.stage import TrackStage
from mggtalk.video.decode import open_video
from tests.support.media import AUDIO_RATE_HZ, write_video

TRACK = TrackConfig(
    fps=25.0,
    min_face_px=48.0,
    max_yaw_deg=65.0,
    second_face_ratio=0.5,
    min_sharpness=0.0,
    min_confidence=0.5,
    max_hand_over_face=1.0,
    hands_every_s=0.0,
    cut_threshold=5.0,
    min_clip_s=0.4,
    max_clip_s=10.0,
    camera_distance_cm=90.0,
    landmarks="mediapipe",
    expression="blendshapes",
    identity_encoder="none",
)
SHARDS = ShardsConfig(
    head_parsing="selfie",
    parsing_model="none",
    depth="facemesh",
    depth_model="none",
    size=192,
    crop_margin=1.2,
    geometry_stride=8,
    surface_reach_cm=1.0,
    cloud_stride=2,
    voxel_size_cm=0.4,
    min_head_fraction=0.02,
    jpeg_quality=90,
    target_shard_mb=64.0,
)
AUDIO_BEGINS_S = 1.0


def record_of(path: Path, **fields) -> VideoRecord:
    """Return a record as `ingest` writes it; tracking does not use the properties that it states of the file."""
    record = VideoRecord(
        video_id="0123456789abcdef",
        path=str(path),
        sha256="0123456789abcdef" * 4,
        size_bytes=path.stat().st_size,
        start_s=0.0,
        end_s=float("inf"),
        width=640,
        height=360,
        fps=25.0,
        num_frames=60,
        duration_s=2.4,
        has_audio=False,
        identity="somebody",
        license="MIT",
        split=Split.TRAIN,
        name=path.name,
    )
    return replace(record, **fields)


def bare_clip(video: VideoRecord, start_frame: int, num_frames: int, **fields: Any) -> ClipTrack:
    """Return a clip of a head that looks at the camera from 1 m away; tracks that `fields` leave out are 0."""
    frames = np.zeros(num_frames, np.float32)
    head_to_camera = np.diag([1.0, -1, -1, 1]).astype(np.float32)
    head_to_camera[2, 3] = 100
    clip = ClipTrack(
        clip_id=f"{video.video_id}-f{start_frame:06d}",
        video=video,
        start_frame=start_frame,
        fps=25.0,
        landmark_set="mediapipe_478",
        expression_names=("jawOpen",),
        intrinsics=np.eye(3),
        times_s=(start_frame + np.arange(num_frames)) / 25,
        frame_index=(start_frame + np.arange(num_frames)).astype(np.int32),
        landmarks_px=np.zeros((num_frames, 478, 2), np.float32),
        landmarks=np.tile(mediapipe_478().neutral.astype(np.float32), (num_frames, 1, 1)),
        neutral_landmarks=mediapipe_478().neutral.astype(np.float32),
        head_to_camera=np.tile(head_to_camera, (num_frames, 1, 1)),
        expression=np.zeros((num_frames, 1), np.float32),
        face_size=frames,
        sharpness=frames,
        confidence=frames + 1,
        hand_over_face=frames,
        num_faces=frames + 1,
    )
    return replace(clip, **fields)


def tracked_video(record: VideoRecord, models: Mapping[str, Path], settings: TrackConfig = TRACK) -> TrackedVideo:
    """Track a video that can be decoded."""
    (tracked,) = TrackStage(settings, models)(VideoPart(record))
    assert isinstance(tracked, TrackedVideo)
    return tracked


def first_frames(path: Path, count: int) -> list[np.ndarray]:
    """Return the first frames at 25 per second."""
    return list(open_video(str(path)).frames(0, count))


def write_frames(path: Path, images: list[np.ndarray], audio: np.ndarray | None = None) -> Path:
    """Write images as a video of 25 frames per second."""
    height, width = images[0].shape[:2]
    return write_video(
        path,
        len(images),
        width=width,
        height=height,
        audio=audio,
        draw_frame=lambda number, width, height: images[number],
    )


def late_tone(duration_s: float) -> np.ndarray:
    """Return silence, followed from `AUDIO_BEGINS_S` on by a loud tone."""
    times = np.arange(round(duration_s * AUDIO_RATE_HZ)) / AUDIO_RATE_HZ
    return (0.5 * np.sin(2 * np.pi * 440 * times) * (times >= AUDIO_BEGINS_S)).astype(np.float32)
