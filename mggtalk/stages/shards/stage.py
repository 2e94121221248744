"""Stage `shards`: a tracked clip becomes encoded samples: fixed crop, head mask, and geometry for every k-th frame.

The clip is decoded once, 64 frames at a time; crop, mask, depth, normals and cloud are made where the pixels are, so
raw frames never leave the worker.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, UInt8

from mggtalk.geometry.head.landmark_sets import landmark_set
from mggtalk.geometry.normal_integration import IntegrationSettings
from mggtalk.perception.depth.head_geometry import HeadViews
from mggtalk.perception.head_backends import make_head_geometry, make_head_parser
from mggtalk.records import ClipTrack, Rejected, RejectReason, ShardSample
from mggtalk.shards.codecs.resample import valid_mask
from mggtalk.shards.codecs.sample import SourceGeometry, encode_sample
from mggtalk.shards.codecs.tracks import ClipTracks
from mggtalk.shards.schema import CHUNK_FRAMES, SampleMeta
from mggtalk.stages.shards.audio import ClipAudio, clip_audio
from mggtalk.stages.shards.config import ShardsConfig
from mggtalk.stages.shards.crop import SquareCrop, head_crop
from mggtalk.stages.shards.source_geometry import SourceReconstruction
from mggtalk.video.decode import ResampledVideo, open_video


class ShardsStage:
    """One `ClipTrack` in; its `ShardSample`s or one rejection out.

    Args:
        landmark_set_name: of the clips, which all have one.
        model_paths: of the backends' models, verified; see `perception.head_backends`.
        model_hashes: of the models behind tracks, masks and geometry, for `meta.json`.

    Raises:
        WeightsError: a backend cannot use its model.
    """

    def __init__(
        self,
        settings: ShardsConfig,
        landmark_set_name: str,
        model_paths: Mapping[str, Path],
        model_hashes: Mapping[str, str],
    ) -> None:
        landmarks = landmark_set(landmark_set_name)
        self._settings = settings
        self._landmarks = landmarks
        self._model_hashes = dict(model_hashes)
        self._parser = make_head_parser(settings.head_parsing, model_paths, landmarks)
        self._reconstruction = SourceReconstruction(
            make_head_geometry(settings.depth, model_paths, landmarks),
            IntegrationSettings(reach=settings.surface_reach_cm),
            stride=settings.cloud_stride,
            voxel_size=settings.voxel_size_cm,
        )

    def __call__(self, record: ClipTrack) -> Iterator[ShardSample | Rejected]:
        """Yield the clip's samples in order.

        Raises:
            VideoError: the video can no longer be decoded.
        """
        assert record.landmark_set == self._landmarks.name, f"{record.clip_id}: landmarks {record.landmark_set}"
        with _one_thread():
            samples, head_fraction = self._samples(record)
        if head_fraction < self._settings.min_head_fraction:
            yield Rejected(record.clip_id, RejectReason.NO_HEAD, f"head covers {head_fraction:.1%} of the crop")
            return
        yield from samples

    def _samples(self, record: ClipTrack) -> tuple[list[ShardSample], float]:
        """Return all samples, and the median fraction of the crop that the head covers."""
        settings = self._settings
        crop = head_crop(record.head_to_camera, record.intrinsics, settings.crop_margin, settings.size)
        video = open_video(record.video.path, record.fps, record.video.start_s, record.video.end_s)
        valid = valid_mask(crop.valid_box(video.width, video.height), crop.size, crop.size)
        tracks = _crop_tracks(record, crop)
        audio = clip_audio(record, float(video.times_s[0]))
        samples, fractions = [], []
        for start in range(0, record.num_frames, CHUNK_FRAMES):
            stop = min(start + CHUNK_FRAMES, record.num_frames)
            rgb = self._crops(video, crop, record.start_frame + start, record.start_frame + stop)
            chunk = tracks.chunk(start, stop)
            masks = self._parser(rgb, chunk.landmarks_px, chunk.head_to_camera[:, :2, 1]) & valid
            fractions.extend(masks.mean(axis=(1, 2)))
            meta = self._meta(record, crop, video, audio, start, stop)
            meta, sources = _with_sources(meta, self._reconstruction, rgb, masks, valid, chunk)
            flac = audio.member(start, stop)
            samples.append(encode_sample(meta, rgb, masks, chunk, sources, flac, jpeg_quality=settings.jpeg_quality))
        return samples, float(np.median(fractions))

    @staticmethod
    def _crops(
        video: ResampledVideo, crop: SquareCrop, start: int, stop: int
    ) -> UInt8[np.ndarray, "num_frames size size 3"]:
        return np.stack([crop.image(image) for image in video.frames(start, stop)])

    def _meta(
        self,
        record: ClipTrack,
        crop: SquareCrop,
        video: ResampledVideo,
        audio: ClipAudio,
        start: int,
        stop: int,
    ) -> SampleMeta:
        every = self._settings.geometry_stride
        intrinsics, similarity = crop.intrinsics(record.intrinsics), crop.video_to_crop
        return SampleMeta(
            clip_id=record.clip_id,
            video_id=record.video.video_id,
            video_sha256=record.video.sha256,
            name=record.video.name,
            identity=record.video.identity,
            license=record.video.license,
            split=record.video.split,
            fps=record.fps,
            start_frame=start,
            num_frames=stop - start,
            clip_num_frames=record.num_frames,
            source_frames=tuple(frame - start for frame in range(start, stop) if frame % every == 0),
            size=crop.size,
            intrinsics=(_row(intrinsics[0]), _row(intrinsics[1]), _row(intrinsics[2])),
            video_to_crop=(_row(similarity[0]), _row(similarity[1])),
            valid_box=crop.valid_box(video.width, video.height),
            landmark_set=record.landmark_set,
            expression_names=record.expression_names,
            audio=audio.state,
            audio_dbfs=audio.level_dbfs(start, stop),
            perception={
                "head_mask": self._settings.head_parsing,
                "geometry": self._settings.depth,
                "surface_reach_cm": self._settings.surface_reach_cm,
                "voxel_size_cm": self._settings.voxel_size_cm,
                "cloud_stride": self._settings.cloud_stride,
                "models": self._model_hashes,
            },
        )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Have torch add in one order, whatever the number of cores: sums of several threads differ in their last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _with_sources(
    meta: SampleMeta,
    reconstruction: SourceReconstruction,
    images: UInt8[np.ndarray, "num_frames size size 3"],
    masks: Bool[np.ndarray, "num_frames size size"],
    valid: Bool[np.ndarray, "size size"],
    tracks: ClipTracks,
) -> tuple[SampleMeta, dict[int, SourceGeometry]]:
    """Return the geometry of the source frames, and the metadata with its fallbacks."""
    frames = list(meta.source_frames)
    if not frames:
        return meta, {}
    views = HeadViews(
        images[frames],
        masks[frames],
        valid,
        tracks.landmarks[frames].astype(np.float64),
        tracks.head_to_camera[frames].astype(np.float64),
        np.array(meta.intrinsics),
    )
    made = reconstruction(views)
    if made.fell_back.any():
        fallbacks = [frame for frame, fell_back in zip(frames, made.fell_back, strict=True) if fell_back]
        meta = replace(meta, perception=meta.perception | {"facemesh_instead": fallbacks})
    return meta, dict(zip(frames, made.geometry, strict=True))


def _row(values: np.ndarray) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def _crop_tracks(record: ClipTrack, crop: SquareCrop) -> ClipTracks:
    return ClipTracks(
        landmarks_px=crop.points(record.landmarks_px).astype(np.float32),
        landmarks=record.landmarks,
        neutral_landmarks=record.neutral_landmarks,
        head_to_camera=record.head_to_camera,
        expression=record.expression,
        times_s=record.times_s,
        frame_index=record.frame_index,
        face_size=record.face_size,
        sharpness=record.sharpness,
    )
