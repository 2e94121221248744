"""The evaluation of one clip as a record, and the names of what is compared."""

from collections.abc import Mapping
from dataclasses import dataclass

from mggtalk.evaluation.metrics import FrameScores

MODEL, COPY_SOURCE, MESH_WARP = "model", "copy_source", "mesh_warp"
METHODS = (MODEL, COPY_SOURCE, MESH_WARP)
SOURCE, DRIVER = "source", "driver"
# The MP4 of a clip, in rows of two. The copied source is the first panel.
VIDEO_PANELS = (SOURCE, DRIVER, MODEL, MESH_WARP)
SOURCE_PICTURE, DEPTH_PICTURE, CLOUD_PICTURE = "source.png", "depth.png", "cloud.png"
POSTER_PICTURE, INSPECTION_PICTURE = "poster.png", "inspection.jpg"


@dataclass(frozen=True, slots=True)
class DrivenFrame:
    """A source frame that was driven by another frame of its clip.

    Attributes:
        source_frame, frame: the numbers of source and driver within the clip.
        turn_deg: how far the driver's yaw is from the source's, in degrees, to either side.
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
    """What the evaluation of one clip gave.

    Attributes:
        source_frame: the source that pictures and video are of.
        driven: it under each of its drivers, in their order.
        driven_far: further sources, under those of the drivers that are turned far from them.
        shown_frames: the drivers that `pictures` has pictures of.
        pictures: file name -> PNG: source, depth, cloud, poster (what the video shows first), and `picture_name` of
            driver and methods; the copied source has no picture of its own. The inspection of the source is a JPEG.
        video: an H.264 MP4 of the panels `VIDEO_PANELS`.
    """

    clip_id: str
    identity: str
    source_frame: int
    driven: tuple[DrivenFrame, ...]
    driven_far: tuple[DrivenFrame, ...]
    shown_frames: tuple[int, ...]
    pictures: Mapping[str, bytes]
    video: bytes

    @property
    def frames(self) -> tuple[int, ...]:
        """The drivers' numbers within the clip."""
        return tuple(driven.frame for driven in self.driven)

    def large_turns(self, least_deg: float) -> tuple[DrivenFrame, ...]:
        """Return all that was driven by a frame turned at least so far from its source."""
        return tuple(driven for driven in (*self.driven, *self.driven_far) if driven.turn_deg >= least_deg)


def picture_name(frame: int, panel: str) -> str:
    """Return the file name of the picture of `panel` (the driver or a method) at a frame of the clip."""
    return f"{frame:06d}-{panel}.png"
