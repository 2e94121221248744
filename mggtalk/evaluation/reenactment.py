"""Scores self-reenactment of one held-out clip: every method drives its source frames by its other frames.

ClipEntry -> ReenactClip -> ClipResult (scores per frame and method, images, one MP4) or a rejection
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Generic

import numpy as np
from jaxtyping import Float32, UInt8

from mggtalk.evaluation.baselines import MeshWarp, copy_source
from mggtalk.evaluation.config import EvaluateConfig
from mggtalk.evaluation.protocols import AvatarT, ClipEntry, ClipReader, FaceMeasurer, IdentityEncoder, Reenactor
from mggtalk.evaluation.results import (
    CLOUD_IMAGE,
    COPY_SOURCE,
    DEPTH_IMAGE,
    DRIVER,
    INSPECTION_IMAGE,
    MESH_WARP,
    METHODS,
    MODEL,
    POSTER_IMAGE,
    SOURCE,
    SOURCE_IMAGE,
    VIDEO_PANELS,
    ClipResult,
    DrivenFrame,
    image_name,
)
from mggtalk.evaluation.scoring import MeasuredImage, Scorer
from mggtalk.geometry.head.head_pose import rotation_angles
from mggtalk.perception.identity import IdentityUnavailable
from mggtalk.records import HeadFrame, Rejected, RejectReason, SourceFrame
from mggtalk.visualization import images

Image = UInt8[np.ndarray, "size size 3"]
Method = Callable[[HeadFrame], Image]
VideoWriter = Callable[[Path, Iterable[Image], float], object]
Inspection = Callable[[str, int], bytes]
"""Draws the shards' content of one frame of a clip, as JPEG."""


class ReenactClip(Generic[AvatarT]):
    """Evaluates one clip: scores, images and a video."""

    def __init__(
        self,
        settings: EvaluateConfig,
        clips: ClipReader,
        reenactor: Reenactor[AvatarT],
        measurer: FaceMeasurer,
        identity_encoder: IdentityEncoder | IdentityUnavailable,
        write_video: VideoWriter,
        *,
        draw_inspection: Inspection,
    ) -> None:
        """Store the components, all of them loaded by the caller."""
        self._settings = settings
        self._clips = clips
        self._reenactor = reenactor
        self._scorer = Scorer(measurer, None if isinstance(identity_encoder, IdentityUnavailable) else identity_encoder)
        self._write_video = write_video
        self._draw_inspection = draw_inspection

    def __call__(self, record: ClipEntry) -> Iterator[ClipResult | Rejected]:
        """Yield the result of `record`, or the reason why it cannot be driven."""
        numbers = driver_frames(record, self._settings)
        if not numbers:
            yield Rejected(record.clip_id, RejectReason.TOO_SHORT, "no source frame with another frame to drive it")
            return
        first, *further = source_frames(record, self._settings)
        frames = _MeasuredFrames(self._clips, self._scorer, record.clip_id, self._reenactor.resolution)
        source = self._clips.source_frame(record.clip_id, first, self._reenactor.resolution)
        driven, panels = [], []
        for result, result_panels in self._drive(frames, first, source, numbers):
            driven.append(result)
            panels.append(result_panels)
        shown = evenly_spread(len(numbers), self._settings.pictures_per_clip)
        yield ClipResult(
            clip_id=record.clip_id,
            identity=record.identity,
            source_frame=first,
            driven=tuple(driven),
            driven_far=tuple(pair for number in further for pair in self._drive_far(record, frames, number)),
            shown_frames=tuple(numbers[index] for index in shown),
            images={
                **self._source_images(record, source),
                **self._driven_images({numbers[index]: panels[index] for index in shown}),
                POSTER_IMAGE: images.encode_png(self._tile(panels[0])),
            },
            video=self._encode_video(panels, self._clips.meta(record.clip_id).fps / self._settings.frame_step),
        )

    def _drive(
        self, frames: "_MeasuredFrames", source_number: int, source: SourceFrame, numbers: Sequence[int]
    ) -> Iterator[tuple[DrivenFrame, dict[str, Image]]]:
        """Yield the scores of every method under each driver, with the images."""
        methods = self._methods(source)
        source_image = frames.measured(source_number)
        for number in numbers:
            driver, truth = frames.read(number), frames.measured(number)
            renders = {name: _checked(method(driver), driver, name, frames.clip_id) for name, method in methods.items()}
            # The copied source is measured once, because measuring takes most of the time.
            measured = {
                name: source_image if name == COPY_SOURCE else self._scorer.measure(image)
                for name, image in renders.items()
            }
            result = DrivenFrame(
                source_frame=source_number,
                frame=number,
                turn_deg=turn_deg(source.frame.head_to_camera, driver.head_to_camera),
                scores={
                    name: self._scorer.score(image, truth, source_image, driver) for name, image in measured.items()
                },
                detected={name: image.face is not None for name, image in {DRIVER: truth, **measured}.items()},
            )
            yield result, {SOURCE: source.frame.image, DRIVER: driver.image, **renders}

    def _drive_far(self, record: ClipEntry, frames: "_MeasuredFrames", source_number: int) -> Iterator[DrivenFrame]:
        pose = frames.read(source_number).head_to_camera
        far = [
            number
            for number in driver_frames(record, self._settings, source_number)
            if turn_deg(pose, frames.read(number).head_to_camera) >= self._settings.large_turn_deg
        ]
        if far:
            source = self._clips.source_frame(record.clip_id, source_number, self._reenactor.resolution)
            for driven, _ in self._drive(frames, source_number, source, far):
                yield driven

    def _methods(self, source: SourceFrame) -> dict[str, Method]:
        avatar = self._reenactor.reconstruct(source)
        return {
            MODEL: lambda driver: self._reenactor.render(avatar, driver.expression, driver.head_to_camera),
            COPY_SOURCE: lambda _driver: copy_source(source.frame),
            MESH_WARP: MeshWarp(source.frame).warp,
        }

    def _source_images(self, record: ClipEntry, source: SourceFrame) -> dict[str, bytes]:
        size = self._settings.panel_size
        cloud = self._clips.cloud(record.clip_id, record.source_frames[0])
        return {
            SOURCE_IMAGE: images.encode_png(images.rescaled(source.frame.image, size)),
            DEPTH_IMAGE: images.encode_png(images.rescaled(images.draw_depth(source.depth), size)),
            CLOUD_IMAGE: images.encode_png(images.draw_cloud(cloud, size)),
            INSPECTION_IMAGE: self._draw_inspection(record.clip_id, record.source_frames[0]),
        }

    def _driven_images(self, shown: dict[int, dict[str, Image]]) -> dict[str, bytes]:
        size = self._settings.panel_size
        return {
            image_name(frame, name): images.encode_png(images.rescaled(panels[name], size))
            for frame, panels in shown.items()
            for name in (DRIVER, *METHODS)
            if name != COPY_SOURCE  # the source image shows it
        }

    def _tile(self, panels: dict[str, Image]) -> Image:
        return images.tile(panels, VIDEO_PANELS, self._settings.panel_size)

    def _encode_video(self, panels: Sequence[dict[str, Image]], fps: float) -> bytes:
        with TemporaryDirectory() as directory:
            path = Path(directory) / "clip.mp4"
            self._write_video(path, (self._tile(frame) for frame in panels), fps)
            return path.read_bytes()


class _MeasuredFrames:
    """Reads and measures the frames of one clip, each once, however many sources it drives."""

    def __init__(self, clips: ClipReader, scorer: Scorer, clip_id: str, size: int) -> None:
        self.clip_id = clip_id
        self._clips, self._scorer, self._size = clips, scorer, size
        self._read: dict[int, HeadFrame] = {}
        self._measured: dict[int, MeasuredImage] = {}

    def read(self, number: int) -> HeadFrame:
        if number not in self._read:
            self._read[number] = self._clips.head_frame(self.clip_id, number, self._size)
        return self._read[number]

    def measured(self, number: int) -> MeasuredImage:
        if number not in self._measured:
            self._measured[number] = self._scorer.measure(self.read(number).image)
        return self._measured[number]


def source_frames(clip: ClipEntry, settings: EvaluateConfig) -> list[int]:
    """Return the frames to be driven: the source frames split into equal parts, the first of each."""
    count = len(clip.source_frames)
    num_parts = min(count, settings.sources_per_clip)
    return [clip.source_frames[part * count // num_parts] for part in range(num_parts)]


def driver_frames(clip: ClipEntry, settings: EvaluateConfig, source: int | None = None) -> list[int]:
    """Return the driving frames: every `frame_step`-th except the source, at most `max_frames_per_clip`.

    Args:
        source: the driven frame; the first source frame by default.
    """
    if not clip.source_frames:
        return []
    if source is None:
        source = clip.source_frames[0]
    numbers = range(0, clip.num_frames, settings.frame_step)
    return [number for number in numbers if number != source][: settings.max_frames_per_clip]


def turn_deg(source: Float32[np.ndarray, "4 4"], driver: Float32[np.ndarray, "4 4"]) -> float:
    """Return the absolute difference of yaw between two head-to-camera poses in degrees, 0 to 180."""
    source_yaw, driver_yaw = (float(rotation_angles(pose[:3, :3])[0]) for pose in (source, driver))
    return abs((driver_yaw - source_yaw + 180.0) % 360.0 - 180.0)


def evenly_spread(count: int, wanted: int) -> list[int]:
    """Return at most `wanted` indices below `count`, the middles of equal parts."""
    num_parts = min(count, wanted)
    return [(2 * part + 1) * count // (2 * num_parts) for part in range(num_parts)]


def _checked(image: Image, driver: HeadFrame, method: str, clip_id: str) -> Image:
    if image.shape != driver.image.shape or image.dtype != np.uint8:
        raise ValueError(
            f"{clip_id}: {method} gave {image.dtype} {image.shape}, expected the driver's uint8 {driver.image.shape}"
        )
    return image
