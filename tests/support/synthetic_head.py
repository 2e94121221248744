"""Talking heads without people: a painted ellipsoid that turns and talks, with exact depth, normals and tracks.

The head is an ellipsoid in head space. Its paint is a function of the point on the unit sphere that a surface point
comes from: skin, hair, eyes, a nose, a mouth. The coefficient `jawOpen` drags the lower face down along the sphere and
bares a dark gap, and the landmarks, the 478 neutral ones of MediaPipe cast onto the ellipsoid, move with the paint;
`eyeBlinkLeft` paints an eyelid over the left eye. Frames, conventions and units are those of `mggtalk.records`.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch

from mggtalk.geometry.head.landmark_sets import mediapipe_478
from mggtalk.geometry.head_cloud import symmetric_points
from mggtalk.records import AudioState, HeadFrame, SourceFrame, Split
from mggtalk.shards import (
    CHUNK_FRAMES,
    ClipTracks,
    SampleMeta,
    Shards,
    SourceGeometry,
    write_index,
    write_shards,
    write_staged_clip,
)
from tests.support.head_paint import SyntheticHead, dragged_height, head_color, wall_color
from tests.support.shard_samples import MadeClip

EXPRESSION_NAMES = ("jawOpen", "eyeBlinkLeft")
DISTANCE_CM = 60.0
PITCH_DEG = 8.0
_CENTER = np.array([0.0, 0.0, -3.0])
_SAMPLES = 4  # rays per pixel and axis, for soft edges


def make_head(seed: int = 0) -> SyntheticHead:
    """Return the person number `seed`."""
    random = np.random.default_rng(seed)

    def around(values: Sequence[float], spread: float) -> tuple[float, float, float]:
        first, second, third = np.array(values) + random.uniform(-spread, spread, 3)
        return float(first), float(second), float(third)

    return SyntheticHead(
        radii=around((7.5, 10.5, 9.0), 0.5),
        skin=around((0.8, 0.6, 0.5), 0.08),
        hair=around((0.3, 0.2, 0.15), 0.1),
        eyes=around((0.15, 0.2, 0.3), 0.1),
        wall=around((0.45, 0.55, 0.6), 0.15),
    )


def facing_camera(yaw_deg: float = 0.0) -> np.ndarray:
    """Return `head_to_camera` of a head that looks at the camera, turned by `yaw_deg` towards its left.

    The camera looks down a little: without that the rotation would be its own inverse, and hide who mixes them up.
    """
    yaw, pitch = np.deg2rad(yaw_deg), np.deg2rad(PITCH_DEG)
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    nod = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    transform = np.eye(4)
    transform[:3, :3] = np.diag([1.0, -1.0, -1.0]) @ nod @ turn
    transform[:3, 3] = [0.0, -0.5, DISTANCE_CM]
    return transform


def camera_intrinsics(size: int) -> np.ndarray:
    """Return the intrinsics of a square image that the head fills to two thirds."""
    return np.array([[2.0 * size, 0, size / 2], [0, 2.0 * size, size / 2], [0, 0, 1]])


def head_frame(
    head: SyntheticHead, size: int, yaw_deg: float = 0.0, expression: Sequence[float] = (0.0, 0.0)
) -> HeadFrame:
    """Return an image of the head with its mask and tracks."""
    transform, intrinsics = facing_camera(yaw_deg), camera_intrinsics(size)
    image, fraction = _paint(head, size, transform, expression)
    landmarks = _landmarks(head, expression[0])
    in_camera = landmarks @ transform[:3, :3].T + transform[:3, 3]
    projected = in_camera @ intrinsics.T
    return HeadFrame(
        image=np.rint(image * 255).astype(np.uint8),
        head_mask=fraction >= 0.5,
        valid=np.ones((size, size), bool),
        landmarks_px=(projected[:, :2] / projected[:, 2:]).astype(np.float32),
        landmarks=landmarks.astype(np.float32),
        expression=np.array(expression, np.float32),
        head_to_camera=transform.astype(np.float32),
        intrinsics=intrinsics.astype(np.float32),
    )


def source_frame(
    head: SyntheticHead, size: int, yaw_deg: float = 0.0, expression: Sequence[float] = (0.0, 0.0)
) -> SourceFrame:
    """Return the same with the exact depth and normals of every pixel whose centre shows the head."""
    transform = facing_camera(yaw_deg)
    pixels = np.stack(np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5), axis=-1)
    depth, on_sphere = _cast(head, pixels, size, transform)
    normals = on_sphere / np.array(head.radii) @ transform[:3, :3].T
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    known = np.isfinite(depth)
    return SourceFrame(
        frame=head_frame(head, size, yaw_deg, expression),
        depth=np.where(known, depth, 0).astype(np.float32),
        normals=np.where(known[..., None], normals, 0).astype(np.float32),
    )


def make_talking_clip(
    clip_id: str,
    *,
    seed: int = 0,
    num_frames: int = 6,
    size: int = 64,
    split: Split = Split.TRAIN,
    geometry_stride: int = 2,
    max_yaw_deg: float = 30.0,
) -> MadeClip:
    """Return a clip of person `seed`, who turns from side to side and opens and shuts mouth and eye meanwhile."""
    head = make_head(seed)
    poses = [
        (float(max_yaw_deg * np.sin(phase)), (0.5 - 0.5 * float(np.cos(phase)), 0.5 - 0.5 * float(np.cos(2 * phase))))
        for phase in np.linspace(0, 2 * np.pi, num_frames, endpoint=False) + 0.5
    ]
    frames = [head_frame(head, size, *pose) for pose in poses]
    sources = {number: source_frame(head, size, *poses[number]) for number in range(0, num_frames, geometry_stride)}
    return MadeClip(
        meta=_clip_meta(clip_id, num_frames, size, split, tuple(sources)),
        rgb=np.stack([frame.image for frame in frames]),
        head_masks=np.stack([frame.head_mask for frame in frames]),
        tracks=_clip_tracks(head, frames),
        sources={number: _geometry(source) for number, source in sources.items()},
        audio=None,
    )


def write_talking_shards(root: Path, clips: Sequence[MadeClip]) -> Shards:
    """Write the clips as a data set under `root` and open it."""
    stored = [write_staged_clip(root / "staging" / f"{clip.meta.clip_id}.tar", clip.samples()) for clip in clips]
    write_index(root, write_shards(root, stored, target_bytes=10**9))
    return Shards(root)


def _cast(
    head: SyntheticHead, pixels: np.ndarray, size: int, head_to_camera: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return depth (NaN where a ray misses the head) and the point of the unit sphere that each pixel's ray meets."""
    intrinsics, turn = camera_intrinsics(size), head_to_camera[:3, :3]
    rays = np.concatenate(
        [(pixels - intrinsics[:2, 2]) / intrinsics[[0, 1], [0, 1]], np.ones((*pixels.shape[:-1], 1))], axis=-1
    )
    radii = np.array(head.radii)
    origin = (-head_to_camera[:3, 3] @ turn - _CENTER) / radii
    direction = rays @ turn / radii
    square, half, rest = (direction**2).sum(-1), direction @ origin, origin @ origin - 1
    discriminant = half**2 - square * rest
    depth = np.where(
        discriminant >= 0, (-half - np.sqrt(np.maximum(discriminant, 0))) / square, np.nan
    )  # rays have z = 1
    return depth, origin + np.nan_to_num(depth)[..., None] * direction


def _paint(
    head: SyntheticHead, size: int, head_to_camera: np.ndarray, expression: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the image in [0, 1] and the fraction of every pixel that shows the head."""
    steps = (np.arange(size * _SAMPLES) + 0.5) / _SAMPLES
    pixels = np.stack(np.meshgrid(steps, steps), axis=-1)
    depth, on_sphere = _cast(head, pixels, size, head_to_camera)
    hit = np.isfinite(depth)
    fine = np.where(hit[..., None], head_color(head, on_sphere, expression), wall_color(head, pixels / size))

    def pooled(values: np.ndarray) -> np.ndarray:
        mean: np.ndarray = values.reshape(size, _SAMPLES, size, _SAMPLES, -1).mean(axis=(1, 3))
        return mean

    return pooled(fine), pooled(hit.astype(np.float64))[..., 0]


@cache
def _neutral_on_sphere() -> np.ndarray:
    neutral = mediapipe_478().neutral - _CENTER
    directions: np.ndarray = neutral / np.linalg.norm(neutral, axis=1, keepdims=True)
    return directions


def _landmarks(head: SyntheticHead, jaw_open: float) -> np.ndarray:
    """Return the landmarks in head space, cm, on the surface."""
    x, y, z = _neutral_on_sphere().T
    dragged = dragged_height(x, y, z, jaw_open)
    depth = np.sqrt(np.maximum(1 - x**2 - dragged**2, 0)) * np.sign(z)
    landmarks: np.ndarray = np.stack([x, dragged, depth], axis=1) * head.radii + _CENTER
    return landmarks


def _geometry(source: SourceFrame) -> SourceGeometry:
    frame = source.frame
    depth, normals, pose, camera = (
        torch.from_numpy(array)[None]
        for array in (source.depth, source.normals, frame.head_to_camera, frame.intrinsics)
    )
    points = symmetric_points(depth, normals, pose, camera, depth == 0, stride=2, voxel_size=0.8)
    return SourceGeometry(source.depth, source.normals, points.clouds(1)[0])


def _clip_meta(clip_id: str, num_frames: int, size: int, split: Split, source_frames: tuple[int, ...]) -> SampleMeta:
    first, second, third = (tuple(map(float, row)) for row in camera_intrinsics(size))
    return SampleMeta(
        clip_id=clip_id,
        video_id=clip_id[:16],
        video_sha256=clip_id[:16] * 4,
        name=f"synthetic/{clip_id}.mp4",
        identity=f"video:{clip_id[:16]}",
        license="CC0-1.0",
        split=split,
        fps=25.0,
        start_frame=0,
        num_frames=min(num_frames, CHUNK_FRAMES),
        clip_num_frames=num_frames,
        source_frames=tuple(frame for frame in source_frames if frame < CHUNK_FRAMES),
        size=size,
        intrinsics=(first, second, third),  # type: ignore[arg-type]
        video_to_crop=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
        valid_box=(0.0, 0.0, float(size), float(size)),
        landmark_set="mediapipe_478",
        expression_names=EXPRESSION_NAMES,
        audio=AudioState.NONE,
        audio_dbfs=None,
        perception={"depth": {"backend": "synthetic", "sha256": "0" * 64}},
    )


def _clip_tracks(head: SyntheticHead, frames: Sequence[HeadFrame]) -> ClipTracks:
    return ClipTracks(
        landmarks_px=np.stack([frame.landmarks_px for frame in frames]),
        landmarks=np.stack([frame.landmarks for frame in frames]),
        neutral_landmarks=_landmarks(head, 0.0).astype(np.float32),
        head_to_camera=np.stack([frame.head_to_camera for frame in frames]),
        expression=np.stack([frame.expression for frame in frames]),
        times_s=np.arange(len(frames)) / 25,
        frame_index=np.arange(len(frames), dtype=np.int32),
        face_size=np.full(len(frames), 40, np.float32),
        sharpness=np.full(len(frames), 10, np.float32),
    )
