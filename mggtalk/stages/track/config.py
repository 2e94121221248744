"""Configuration of the stage `track`."""

from typing import Literal

from pydantic import Field

from mggtalk.params import config
from mggtalk.perception.landmarks.backends import LANDMARK_BACKENDS, LandmarkBackend
from mggtalk.stages.track.frame_analysis import FrameLimits

DETECTOR_MODEL = "face_detection_full_range"
HAND_MODELS = ("palm_detection", "hand_landmark")


@config
class TrackConfig:
    """Group `track` of params.yaml.

    Attributes:
        fps: constant frame rate of the clips.
        min_face_px: least side of the face's box in video pixels. max_yaw_deg: most turn of the head to either side.
        second_face_ratio: a second face of at least this share of the first one's size makes a frame unusable.
        min_sharpness, min_confidence, max_hand_over_face: bounds of what `records.ClipTrack` says of each frame.
        hands_every_s: seconds between two looks for hands before the face; 0 never looks.
        cut_threshold: see `CutDetector`.
        min_clip_s, max_clip_s: shorter runs are dropped, longer ones cut into even pieces; at least twice as long.
        camera_distance_cm: where faces are assumed to be, if their perspective does not tell; see `estimate_focal`.
        landmarks: backend that finds them; see `perception.landmarkers`.
        expression: the backend's own coefficients (`blendshapes`), or those of `perception.expression_basis` (`pca`).
        identity_encoder: network that tells who is in a clip that the recipe does not label; see `stages.people`.
    """

    fps: float = Field(gt=0, le=240)
    min_face_px: float = Field(ge=0)
    max_yaw_deg: float = Field(ge=0, le=180)
    second_face_ratio: float = Field(ge=0, le=1)
    min_sharpness: float = Field(ge=0)
    min_confidence: float = Field(ge=0, le=1)
    max_hand_over_face: float = Field(ge=0, le=1)
    hands_every_s: float = Field(ge=0)
    cut_threshold: float = Field(gt=0)
    min_clip_s: float = Field(gt=0)
    max_clip_s: float = Field(gt=0)
    camera_distance_cm: float = Field(gt=0)
    landmarks: Literal["mediapipe", "face_alignment"] = Field()
    expression: Literal["blendshapes", "pca"] = Field()
    identity_encoder: Literal["none", "dlib"] = Field()

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
        """What finds the landmarks."""
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
    def limits(self) -> FrameLimits:
        """What makes a frame unusable before its pose is known."""
        return FrameLimits(self.min_face_px, self.second_face_ratio, self.min_sharpness, self.max_hand_over_face)
