"""Self-reenactment of one held-out clip: its first source frame is driven by its other frames; each method is scored.

ClipEntry -> ReenactClip -> ClipResult (scores per frame and method, pictures, one MP4) or a rejection
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Generic, Literal

import numpy as np
from jaxtyping import UInt8

from mggtalk.evaluation import pictures
from mggtalk.evaluation.baselines import MeshWarp, copy_source
from mggtalk.evaluation.metrics import FrameScores
from mggtalk.evaluation.protocols import AvatarT, ClipEntry, ClipReader, FaceMeasurer, IdentityEncoder, Reenactor
from mggtalk.evaluation.results import (
    CLOUD_PICTURE,
    COPY_SOURCE,
    DEPTH_PICTURE,
    DRIVER,
    INSPECTION_PICTURE,
    MESH_WARP,
    METHODS,
    MODEL,
    POSTER_PICTURE,
    SOURCE,
    SOURCE_PICTURE,
    VIDEO_PANELS,
    ClipResult,
    picture_name,
)
from mggtalk.evaluation.scoring import Scorer
from mggtalk.params import config
from mggtalk.perception.identity import IdentityUnavailable
from mggtalk.records import HeadFrame, Rejected, RejectReason, SourceFrame, Split

Image = UInt8[np.ndarray, "size size 3"]
Method = Callable[[HeadFrame], Image]
VideoWriter = Callable[[Path, Iterable[Image], float], object]
Inspection = Callable[[str, int], bytes]
"""Draws what the shards hold of a frame of a clip, as JPEG."""


@config
class EvaluateConfig:
    """Which clips and frames are scored, and how much of them is shown.

    Attributes:
        split: the part of the data set that is scored.
        max_frames_per_clip: at most this many drivers a clip, the first ones.
        frame_step: every how many frames a driver is taken.
        pictures_per_clip: drivers shown as pictures, evenly spread.
        panel_size: side in pixels of a picture in the report; renders are scaled to it for show only. Even, for H.264.
        identity_encoder: `dlib` for CSIM, `none` to do without.
        speed_warmup, speed_repeats: unmeasured and measured repeats for the speed figures.
    """

    split: Split = Split.TEST
    max_frames_per_clip: int = 100
    frame_step: int = 1
    pictures_per_clip: int = 3
    panel_size: int = 256
    identity_encoder: Literal["none", "dlib"] = "none"
    speed_warmup: int = 3
    speed_repeats: int = 20

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        for key in ("max_frames_per_clip", "frame_step", "pictures_per_clip", "panel_size", "speed_repeats"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key}: got {getattr(self, key)}, expected at least 1")
        if self.panel_size % 2:
            raise ValueError(f"panel_size: got {self.panel_size}, expected an even number")
        if self.speed_warmup < 0:
            raise ValueError(f"speed_warmup: got {self.speed_warmup}, expected at least 0")


class ReenactClip(Generic[AvatarT]):
    """The evaluate stage: one clip in; its scores, pictures and video out."""

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
        """Keep what clips are read, driven, measured, written and drawn with; the caller has loaded all of it."""
        self._settings = settings
        self._clips = clips
        self._reenactor = reenactor
        self._scorer = Scorer(measurer, None if isinstance(identity_encoder, IdentityUnavailable) else identity_encoder)
        self._write_video = write_video
        self._draw_inspection = draw_inspection

    def __call__(self, record: ClipEntry) -> Iterator[ClipResult | Rejected]:
        """Yield the result of `record`, or why it cannot be driven."""
        drivers = driver_frames(record, self._settings)
        if not drivers:
            yield Rejected(record.clip_id, RejectReason.TOO_SHORT, "no source frame with another frame to drive it")
            return
        source = self._clips.source_frame(record.clip_id, record.source_frames[0], self._reenactor.resolution)
        methods = self._methods(source)
        scores: dict[str, list[FrameScores]] = {name: [] for name in methods}
        detected: dict[str, list[bool]] = {name: [] for name in (DRIVER, *methods)}
        panels: list[dict[str, Image]] = []
        # The copied source is the same picture under every driver, and measuring is what takes the time.
        measured_source = self._scorer.measure(source.frame.image)
        for number in drivers:
            driver = self._clips.head_frame(record.clip_id, number, self._reenactor.resolution)
            renders = {name: _checked(method(driver), driver, name, record.clip_id) for name, method in methods.items()}
            truth = self._scorer.measure(driver.image)
            detected[DRIVER].append(truth.face is not None)
            for name, image in renders.items():
                measured = measured_source if name == COPY_SOURCE else self._scorer.measure(image)
                scores[name].append(self._scorer.score(measured, truth, driver))
                detected[name].append(measured.face is not None)
            panels.append({SOURCE: source.frame.image, DRIVER: driver.image, **renders})
        shown = evenly_spread(len(drivers), self._settings.pictures_per_clip)
        yield ClipResult(
            clip_id=record.clip_id,
            identity=record.identity,
            source_frame=record.source_frames[0],
            frames=tuple(drivers),
            scores={name: tuple(values) for name, values in scores.items()},
            detected={name: tuple(values) for name, values in detected.items()},
            shown_frames=tuple(drivers[index] for index in shown),
            pictures={
                **self._source_pictures(record, source),
                **self._driven_pictures({drivers[index]: panels[index] for index in shown}),
                POSTER_PICTURE: pictures.encode_png(self._tile(panels[0])),
            },
            video=self._encode_video(panels, self._clips.meta(record.clip_id).fps / self._settings.frame_step),
        )

    def _methods(self, source: SourceFrame) -> dict[str, Method]:
        avatar = self._reenactor.reconstruct(source)
        return {
            MODEL: lambda driver: self._reenactor.render(avatar, driver.expression, driver.head_to_camera),
            COPY_SOURCE: lambda _driver: copy_source(source.frame),
            MESH_WARP: MeshWarp(source.frame).warp,
        }

    def _source_pictures(self, record: ClipEntry, source: SourceFrame) -> dict[str, bytes]:
        size = self._settings.panel_size
        cloud = self._clips.cloud(record.clip_id, record.source_frames[0])
        return {
            SOURCE_PICTURE: pictures.encode_png(pictures.rescaled(source.frame.image, size)),
            DEPTH_PICTURE: pictures.encode_png(pictures.rescaled(pictures.draw_depth(source.depth), size)),
            CLOUD_PICTURE: pictures.encode_png(pictures.draw_cloud(cloud, size)),
            INSPECTION_PICTURE: self._draw_inspection(record.clip_id, record.source_frames[0]),
        }

    def _driven_pictures(self, shown: dict[int, dict[str, Image]]) -> dict[str, bytes]:
        size = self._settings.panel_size
        return {
            picture_name(frame, name): pictures.encode_png(pictures.rescaled(panels[name], size))
            for frame, panels in shown.items()
            for name in (DRIVER, *METHODS)
            if name != COPY_SOURCE  # the source picture shows it
        }

    def _tile(self, panels: dict[str, Image]) -> Image:
        return pictures.tile(panels, VIDEO_PANELS, self._settings.panel_size)

    def _encode_video(self, panels: Sequence[dict[str, Image]], fps: float) -> bytes:
        with TemporaryDirectory() as directory:
            path = Path(directory) / "clip.mp4"
            self._write_video(path, (self._tile(frame) for frame in panels), fps)
            return path.read_bytes()


def driver_frames(clip: ClipEntry, settings: EvaluateConfig) -> list[int]:
    """Return the frames that drive: every `frame_step`-th but the source, at most `max_frames_per_clip`."""
    if not clip.source_frames:
        return []
    numbers = range(0, clip.num_frames, settings.frame_step)
    return [number for number in numbers if number != clip.source_frames[0]][: settings.max_frames_per_clip]


def evenly_spread(count: int, wanted: int) -> list[int]:
    """Return at most `wanted` indices below `count`, in the middles of equal shares."""
    wanted = min(count, wanted)
    return [(2 * share + 1) * count // (2 * wanted) for share in range(wanted)]


def _checked(image: Image, driver: HeadFrame, method: str, clip_id: str) -> Image:
    if image.shape != driver.image.shape or image.dtype != np.uint8:
        raise ValueError(
            f"{clip_id}: {method} gave {image.dtype} {image.shape}, expected the driver's uint8 {driver.image.shape}"
        )
    return image
