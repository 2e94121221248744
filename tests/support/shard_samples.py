"""Synthetic clips for the shard tests: a slanted, shaded disc as head, tracks that project exactly."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mggtalk.records import AudioState, HeadCloud, ShardSample, Split
from mggtalk.shards import CHUNK_FRAMES, ClipTracks, SampleMeta, SourceGeometry, encode_sample

NUM_LANDMARKS = 7
EXPRESSION_NAMES = ("jawOpen", "eyeBlinkLeft")


@dataclass(frozen=True)
class MadeClip:
    """A clip before encoding; `sources` by frame of the clip."""

    meta: SampleMeta
    rgb: np.ndarray
    head_masks: np.ndarray
    tracks: ClipTracks
    sources: dict[int, SourceGeometry]
    audio: bytes | None

    def samples(self, jpeg_quality: int = 95) -> Iterator[ShardSample]:
        """Encode chunk by chunk."""
        for start in range(0, len(self.rgb), CHUNK_FRAMES):
            stop = min(start + CHUNK_FRAMES, len(self.rgb))
            sources = {frame - start: self.sources[frame] for frame in self.sources if start <= frame < stop}
            fields = self.meta.to_mapping() | {
                "start_frame": start,
                "num_frames": stop - start,
                "source_frames": tuple(sources),
            }
            yield encode_sample(
                SampleMeta(**fields),
                self.rgb[start:stop],
                self.head_masks[start:stop],
                self.tracks.chunk(start, stop),
                sources,
                self.audio,
                jpeg_quality=jpeg_quality,
            )


def make_clip(
    clip_id: str,
    *,
    num_frames: int = 3,
    size: int = 32,
    split: Split = Split.TRAIN,
    geometry_stride: int = 2,
    audio: bytes | None = None,
    valid_box: tuple[float, float, float, float] | None = None,
    seed: int = 0,
) -> MadeClip:
    """Return a clip whose content depends on the arguments alone."""
    random = np.random.default_rng([seed, *clip_id.encode()])
    focal = 1.5 * size
    intrinsics_rows = ((focal, 0.0, size / 2), (0.0, focal, size / 2), (0.0, 0.0, 1.0))
    intrinsics = np.array(intrinsics_rows)
    source_frames = tuple(range(0, num_frames, geometry_stride))
    meta = SampleMeta(
        clip_id=clip_id,
        video_id=clip_id[:16],
        video_sha256=clip_id[:16] * 4,
        name=f"people/{clip_id}.mp4",
        identity=f"video:{clip_id[:16]}",
        license="CC-BY-4.0",
        split=split,
        fps=25.0,
        start_frame=0,
        num_frames=min(num_frames, CHUNK_FRAMES),
        clip_num_frames=num_frames,
        source_frames=tuple(frame for frame in source_frames if frame < CHUNK_FRAMES),
        size=size,
        intrinsics=intrinsics_rows,
        video_to_crop=((0.5, 0.0, -3.0), (0.0, 0.5, 2.0)),
        valid_box=valid_box or (0.0, 0.0, float(size), float(size)),
        landmark_set="test-7",
        expression_names=EXPRESSION_NAMES,
        audio=AudioState.NONE if audio is None else AudioState.PRESENT,
        audio_dbfs=None if audio is None else -23.0,
        perception={"depth": {"backend": "disc", "sha256": "0" * 64}},
    )
    rows, columns = np.mgrid[:size, :size] + 0.5
    disc = (columns - size / 2) ** 2 + (rows - size / 2) ** 2 < (0.4 * size) ** 2
    shade = (columns / size * 150 + 50).astype(np.uint8)
    rgb = np.stack([np.stack([shade, shade // 2, np.full_like(shade, 40 + frame)], -1) for frame in range(num_frames)])
    masks = np.stack([disc & (columns > frame % 3) for frame in range(num_frames)])
    return MadeClip(
        meta,
        rgb,
        masks,
        make_tracks(random, num_frames, intrinsics),
        {frame: make_source(random, disc, intrinsics) for frame in source_frames},
        audio,
    )


def make_tracks(random: np.random.Generator, num_frames: int, intrinsics: np.ndarray) -> ClipTracks:
    """Return tracks whose landmarks project exactly onto `landmarks_px`."""
    landmarks = random.uniform(-6, 6, (num_frames, NUM_LANDMARKS, 3))
    head_to_camera = np.tile(np.diag([1.0, -1, -1, 1]), (num_frames, 1, 1))
    head_to_camera[:, :3, 3] = random.uniform([-2, -2, 50], [2, 2, 60], (num_frames, 3))
    in_camera = np.einsum("fij,flj->fli", head_to_camera[:, :3, :3], landmarks) + head_to_camera[:, None, :3, 3]
    projected = in_camera @ intrinsics.T
    return ClipTracks(
        landmarks_px=(projected[..., :2] / projected[..., 2:]).astype(np.float32),
        landmarks=landmarks.astype(np.float32),
        neutral_landmarks=landmarks[0].astype(np.float32),
        head_to_camera=head_to_camera.astype(np.float32),
        expression=random.uniform(0, 1, (num_frames, len(EXPRESSION_NAMES))).astype(np.float32),
        times_s=np.arange(num_frames) / 25,
        frame_index=np.arange(num_frames, dtype=np.int32) * 2,
        face_size=np.full(num_frames, 120, np.float32),
        sharpness=random.uniform(10, 20, num_frames).astype(np.float32),
    )


def make_source(random: np.random.Generator, disc: np.ndarray, intrinsics: np.ndarray) -> SourceGeometry:
    """Return depth, normals and cloud of a slanted disc; the cloud has every visible point and a few mirrored ones."""
    rows, columns = np.nonzero(disc)
    slope = random.uniform(-0.1, 0.1, 2)
    depth = np.zeros(disc.shape, np.float32)
    depth[rows, columns] = 55 + slope[0] * columns + slope[1] * rows + random.uniform(0, 0.1, len(rows))
    directions = random.normal(size=(len(rows), 3)) * [1, 1, 0.5] - [0, 0, 2]
    normals = np.zeros((*disc.shape, 3), np.float32)
    normals[rows, columns] = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    pixels = np.stack([columns, rows], -1)
    rays = np.linalg.solve(intrinsics, np.concatenate([pixels + 0.5, np.ones((len(rows), 1))], -1).T).T
    positions = rays * depth[rows, columns, None] * [1, -1, -1] + [0, 0, 55]
    mirrored_of = np.arange(0, len(rows), 3)
    mirror = np.array([-1, 1, 1])
    visible_normals = normals[rows, columns]
    cloud = HeadCloud(
        positions=np.concatenate([positions, positions[mirrored_of] * mirror]).astype(np.float32),
        normals=np.concatenate([visible_normals, visible_normals[mirrored_of] * mirror]).astype(np.float32),
        source_pixel=np.concatenate([pixels, pixels[mirrored_of]]).astype(np.int16),
        mirrored_of=np.concatenate([np.full(len(rows), -1), mirrored_of]).astype(np.int32),
    )
    return SourceGeometry(depth, normals, cloud)
