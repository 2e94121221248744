"""Configuration of the stage `track`."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from mggtalk.config import config
from mggtalk.perception.landmarks.backends import LANDMARK_BACKENDS, LandmarkBackend

if TYPE_CHECKING:
    from mggtalk.stages.track.frame_analysis import FrameLimits

DETECTOR_MODEL = "face_detection_full_range"
HAND_MODELS = ("palm_detection", "hand_landmark")


@config
class TrackConfig:
    """Group `track` of the params file."""

    fps: float = Field(25.0, gt=0, le=240)
    """Constant frame rate of the clips in Hz, up to 240."""
    min_face_px: float = Field(48.0, ge=0)
    """Least side of the face's box in pixels of the video."""
    max_yaw_deg: float = Field(65.0, ge=0, le=180)
    """Largest turn of the head to either side, in degrees."""
    second_face_ratio: float = Field(0.5, ge=0, le=1)
    """Size of a second face over that of the first, 0 to 1, from which it makes a frame unusable."""
    min_sharpness: float = Field(0.0, ge=0)
    """Least sharpness of a frame, as `records.ClipTrack` defines it; 0 takes all."""
    min_confidence: float = Field(0.5, ge=0, le=1)
    """Least confidence in a frame's landmarks, 0 to 1."""
    max_hand_over_face: float = Field(1.0, ge=0, le=1)
    """Largest fraction of the face that hands may cover, 0 to 1; 1 takes all."""
    hands_every_s: float = Field(2.0, ge=0)
    """Seconds between two looks for hands in front of the face; 0 never looks."""
    cut_threshold: float = Field(5.0, gt=0)
    """Change between two frames, in uint8 steps beyond the motion before, that counts as a cut; see `CutDetector`."""
    min_clip_s: float = Field(1.0, gt=0)
    """Shortest clip in seconds; shorter runs of usable frames are dropped."""
    max_clip_s: float = Field(10.0, gt=0)
    """Longest clip in seconds, at least twice the shortest; longer runs are cut into even pieces."""
    camera_distance_cm: float = Field(90.0, gt=0)
    """Distance of a face in cm where its perspective does not tell; see `estimate_focal`."""
    landmarks: Literal["mediapipe", "face_alignment"] = "mediapipe"
    """Backend that finds landmarks: `mediapipe` or `face_alignment`; see docs/models.md."""
    expression: Literal["blendshapes", "pca"] = "blendshapes"
    """Expression coefficients: the backend's own `blendshapes`, or `pca` of the landmarks."""
    identity_encoder: Literal["none", "dlib"] = "none"
    """Network that tells who is in a clip without a label in the recipe: `dlib`, or `none` to do without."""

    def __post_init__(self) -> None:
        """Check that a run which is a frame too long can be halved, and that the backend has what is asked for."""
        if self.max_clip_s < 2 * self.min_clip_s:
            raise ValueError(
                f"max_clip_s: expected at least twice min_clip_s ({self.min_clip_s}), got {self.max_clip_s}"
            )
        if self.expression == "blendshapes" and not self.backend.has_expression:
            raise ValueError(f"expression: landmarks {self.landmarks!r} give no blendshapes; expected 'pca'")

    @property
    def backend(self) -> LandmarkBackend:
        """Backend that finds the landmarks."""
        return LANDMARK_BACKENDS[self.landmarks]

    @property
    def models(self) -> tuple[str, ...]:
        """Names in the registry of all models that are needed."""
        hands = HAND_MODELS if self.hands_every_s else ()
        return (*self.backend.models, DETECTOR_MODEL, *hands)

    @property
    def clip_frames(self) -> tuple[int, int]:
        """The least and the largest number of frames of a clip."""
        least = max(round(self.min_clip_s * self.fps), 1)
        return least, max(round(self.max_clip_s * self.fps), 2 * least)

    @property
    def limits(self) -> "FrameLimits":
        """Limits beyond which a frame is unusable, before its pose is known."""
        from mggtalk.stages.track.frame_analysis import FrameLimits  # noqa: PLC0415  OpenCV, which a look at keys spares

        return FrameLimits(self.min_face_px, self.second_face_ratio, self.min_sharpness, self.max_hand_over_face)
