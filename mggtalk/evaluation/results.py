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


@dataclass(frozen=True, slots=True, eq=False)
class ClipResult:
    """What the evaluation of one clip gave.

    Attributes:
        frames: the drivers' numbers within the clip.
        scores: method -> the scores of each driver, in the order of `frames`.
        detected: `driver` and each method -> whether a face was found, in the order of `frames`.
        shown_frames: the drivers that `pictures` has pictures of.
        pictures: file name -> PNG: source, depth, cloud, poster (what the video shows first), and `picture_name` of
            driver and methods; the copied source has no picture of its own. The inspection of the source is a JPEG.
        video: an H.264 MP4 of the panels `VIDEO_PANELS`.
    """

    clip_id: str
    identity: str
    source_frame: int
    frames: tuple[int, ...]
    scores: Mapping[str, tuple[FrameScores, ...]]
    detected: Mapping[str, tuple[bool, ...]]
    shown_frames: tuple[int, ...]
    pictures: Mapping[str, bytes]
    video: bytes


def picture_name(frame: int, panel: str) -> str:
    """Return the file name of the picture of `panel` (the driver or a method) at a frame of the clip."""
    return f"{frame:06d}-{panel}.png"
