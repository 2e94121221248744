"""Defines the record of one clip's evaluation and the names of the methods, panels and files."""

from collections.abc import Mapping
from dataclasses import dataclass

from mggtalk.evaluation.metrics import FrameScores

MODEL, COPY_SOURCE, MESH_WARP = "model", "copy_source", "mesh_warp"
METHODS = (MODEL, COPY_SOURCE, MESH_WARP)
SOURCE, DRIVER = "source", "driver"
# Panels of a clip's MP4, in rows of two. The first one also shows the copied source.
VIDEO_PANELS = (SOURCE, DRIVER, MODEL, MESH_WARP)
SOURCE_IMAGE, DEPTH_IMAGE, CLOUD_IMAGE = "source.png", "depth.png", "cloud.png"
POSTER_IMAGE, INSPECTION_IMAGE = "poster.png", "inspection.jpg"


@dataclass(frozen=True, slots=True)
class DrivenFrame:
    """Scores of one source frame under one driver of its clip.

    Attributes:
        source_frame, frame: the numbers of source and driver within the clip.
        turn_deg: absolute difference of yaw between source and driver, in degrees.
        scores: method -> its scores.
        detected: `driver` and each method -> whether a face was found.
    """

    source_frame: int
    frame: int
    turn_deg: float
    scores: Mapping[str, FrameScores]
    detected: Mapping[str, bool]


@dataclass(frozen=True, slots=True, eq=False)
class ClipResult:
    """Scores, images and video of one clip.

    Attributes:
        source_frame: the source of the images and the video.
        driven: the source under each of its drivers, in their order.
        driven_far: further sources, under the drivers at a large turn from them.
        shown_frames: the drivers with entries in `images`.
        images: file name -> PNG: source, depth, cloud, poster (the first frame of the video), and `image_name` of
            driver and methods; the copied source has no image of its own. The inspection of the source is a JPEG.
        video: an H.264 MP4 of the panels `VIDEO_PANELS`.
    """

    clip_id: str
    identity: str
    source_frame: int
    driven: tuple[DrivenFrame, ...]
    driven_far: tuple[DrivenFrame, ...]
    shown_frames: tuple[int, ...]
    images: Mapping[str, bytes]
    video: bytes

    @property
    def frames(self) -> tuple[int, ...]:
        """The drivers' numbers within the clip."""
        return tuple(driven.frame for driven in self.driven)

    def large_turns(self, least_deg: float) -> tuple[DrivenFrame, ...]:
        """Return the driven frames whose turn is at least `least_deg`."""
        return tuple(driven for driven in (*self.driven, *self.driven_far) if driven.turn_deg >= least_deg)


def image_name(frame: int, panel: str) -> str:
    """Return the file name of the image of `panel` (the driver or a method) at a frame of the clip."""
    return f"{frame:06d}-{panel}.png"
