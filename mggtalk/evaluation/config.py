"""Configuration of the stage `evaluate`."""

from typing import Literal

from mggtalk.config import config
from mggtalk.records import Split


@config
class EvaluateConfig:
    """Group `evaluate` of the params file: which clips and frames are scored, and how much of them is shown."""

    split: Split = Split.TEST
    """Split of the data set that is scored: `train`, `val` or `test`."""
    max_frames_per_clip: int = 100
    """Largest number of driving frames of a clip, counted from its beginning."""
    frame_step: int = 1
    """Distance in frames between two driving frames."""
    large_turn_deg: float = 20.0
    """Difference in yaw between source and driver, in degrees, from which a frame counts as a large turn."""
    sources_per_clip: int = 1
    """Source frames of a clip: all drivers drive the first, and those a large turn away the others, evenly spread."""
    pictures_per_clip: int = 3
    """Driving frames of a clip that the report shows, evenly spread."""
    panel_size: int = 256
    """Side in pixels of an image in the report; even, because H.264 wants it. Scores do not depend on it."""
    identity_encoder: Literal["none", "dlib"] = "none"
    """Network behind CSIM: `dlib`, or `none` to do without."""
    speed_warmup: int = 3
    """Unmeasured repeats before the measurement of speed."""
    speed_repeats: int = 20
    """Measured repeats of the measurement of speed."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        counts = ("max_frames_per_clip", "frame_step", "sources_per_clip", "pictures_per_clip", "panel_size")
        for key in (*counts, "speed_repeats"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key}: got {getattr(self, key)}, expected at least 1")
        if not 0 < self.large_turn_deg <= 180:
            raise ValueError(f"large_turn_deg: got {self.large_turn_deg}, expected more than 0 and at most 180")
        if self.panel_size % 2:
            raise ValueError(f"panel_size: got {self.panel_size}, expected an even number")
        if self.speed_warmup < 0:
            raise ValueError(f"speed_warmup: got {self.speed_warmup}, expected at least 0")
