"""Stage `track`: a video becomes clips of one face, with landmarks, expression, pose and quality of every frame.

Writes no pixels. A frame is dropped with a reason; a video without any clip is rejected with the reason that cost it
most.
"""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from pydantic import Field

from mggtalk.geometry.head_pose import ClipPose, ShapePrior, solve_clip_pose
from mggtalk.params import config
from mggtalk.perception.face_landmarker import FaceDetection, FaceLandmarker
from mggtalk.perception.landmark_sets import EYE_DISTANCE_CM, landmark_set
from mggtalk.perception.shot_cuts import CutDetector
from mggtalk.records import ClipTrack, Rejected, RejectReason, Segment, TrackedVideo, VideoRecord
from mggtalk.stages.clips import FrameObservation, FrameRun, main_reason, split_runs
from mggtalk.video.decode import ResampledVideo, open_video

_SHARPNESS_SIDE = 96


@config
class TrackConfig:
    """Group `track` of params.yaml.

    Attributes:
        fps: constant frame rate of the clips.
        min_face_px: least side of the face's box in video pixels. max_yaw_deg: most turn of the head to either side.
        second_face_ratio: a second face of at least this share of the first one's size makes a frame unusable.
        cut_threshold: see `CutDetector`.
        min_clip_s, max_clip_s: shorter runs are dropped, longer ones cut into even pieces; at least twice as long.
        camera_distance_cm: assumed distance of the face, which fixes the focal length.
    """

    fps: float = Field(gt=0)
    min_face_px: float = Field(ge=0)
    max_yaw_deg: float = Field(ge=0, le=180)
    second_face_ratio: float = Field(ge=0, le=1)
    cut_threshold: float = Field(gt=0)
    min_clip_s: float = Field(gt=0)
    max_clip_s: float = Field(gt=0)
    camera_distance_cm: float = Field(gt=0)

    def __post_init__(self) -> None:
        """Check that a run which is a frame too long can be halved."""
        if self.max_clip_s < 2 * self.min_clip_s:
            raise ValueError(
                f"max_clip_s: expected at least twice min_clip_s ({self.min_clip_s}), got {self.max_clip_s}"
            )

    @property
    def clip_frames(self) -> tuple[int, int]:
        """The least and the largest number of frames of a clip."""
        least = max(round(self.min_clip_s * self.fps), 1)
        return least, max(round(self.max_clip_s * self.fps), 2 * least)


class TrackStage:
    """One `VideoRecord` in; one `TrackedVideo` or one rejection out.

    Args:
        landmarker_path: the verified model file of MediaPipe's FaceLandmarker.
    """

    def __init__(self, settings: TrackConfig, landmarker_path: Path) -> None:
        self._settings = settings
        self._landmarker_path = landmarker_path
        landmarks = landmark_set(FaceLandmarker.landmark_set)
        self._prior = ShapePrior(
            template=landmarks.neutral,
            mirror=landmarks.mirror,
            weights=landmarks.alignment_weights,
            eye_corners=landmarks.eye_corners,
            eye_distance=EYE_DISTANCE_CM,
        )

    def __call__(self, record: VideoRecord) -> Iterator[TrackedVideo | Rejected]:
        """Yield what becomes of the video.

        Raises:
            VideoError: it cannot be decoded.
        """
        video = open_video(record.path, self._settings.fps, record.start_s, record.end_s)
        with FaceLandmarker(self._landmarker_path) as landmarker:
            observations = list(self._observe(video, landmarker))
            names = landmarker.expression_names
        runs = split_runs(observations, *self._settings.clip_frames)
        clips = [self._clip(record, video, observations, run, names) for run in runs if run.reason is None]
        if not clips:
            reason, detail = main_reason(runs)
            yield Rejected(record.name, reason, detail)
            return
        yield TrackedVideo(record, tuple(clips), tuple(_segment(record, run) for run in runs))

    def _observe(self, video: ResampledVideo, landmarker: FaceLandmarker) -> Iterator[FrameObservation]:
        cuts = CutDetector(self._settings.cut_threshold)
        step_ms = round(1000 / video.fps)
        for image in video.frames():
            faces = sorted(landmarker.detect(image, step_ms), key=lambda face: -face.size)
            reason = self._fault(faces)
            usable = faces[0] if reason is None else None
            sharpness = _sharpness(image, usable) if usable else 0.0
            yield FrameObservation(usable, reason, cuts.begins_shot(image), sharpness)

    def _fault(self, faces: list[FaceDetection]) -> RejectReason | None:
        """Say why a frame with these faces, largest first, cannot be used."""
        if not faces:
            return RejectReason.NO_FACE
        if len(faces) > 1 and faces[1].size >= self._settings.second_face_ratio * faces[0].size:
            return RejectReason.MULTIPLE_FACES
        if faces[0].size < self._settings.min_face_px:
            return RejectReason.FACE_TOO_SMALL
        if abs(faces[0].yaw_deg) > self._settings.max_yaw_deg:
            return RejectReason.EXTREME_POSE
        return None

    def _clip(
        self,
        record: VideoRecord,
        video: ResampledVideo,
        observations: list[FrameObservation],
        run: FrameRun,
        expression_names: tuple[str, ...],
    ) -> ClipTrack:
        kept = observations[run.start : run.stop]
        faces = [observation.face for observation in kept if observation.face is not None]
        points = np.stack([face.landmarks for face in faces])
        pose: ClipPose = solve_clip_pose(
            points, (video.width, video.height), self._prior, self._settings.camera_distance_cm
        )
        return ClipTrack(
            clip_id=f"{record.video_id}-f{run.start:06d}",
            video=record,
            start_frame=run.start,
            fps=video.fps,
            landmark_set=FaceLandmarker.landmark_set,
            expression_names=expression_names,
            intrinsics=pose.intrinsics,
            times_s=video.times_s[run.start : run.stop],
            frame_index=video.frame_index[run.start : run.stop],
            landmarks_px=points[..., :2].astype(np.float32),
            landmarks=pose.landmarks.astype(np.float32),
            neutral_landmarks=pose.neutral_landmarks.astype(np.float32),
            head_to_camera=pose.head_to_camera.astype(np.float32),
            expression=np.stack([face.expression for face in faces]),
            face_size=np.array([face.size for face in faces], dtype=np.float32),
            sharpness=np.array([observation.sharpness for observation in kept], dtype=np.float32),
        )


def _segment(record: VideoRecord, run: FrameRun) -> Segment:
    clip_id = f"{record.video_id}-f{run.start:06d}" if run.reason is None else None
    return Segment(record.video_id, run.start, run.stop - run.start, clip_id, run.reason)


def _sharpness(image: UInt8[np.ndarray, "height width 3"], face: FaceDetection) -> float:
    """Return the variance of the Laplacian of the face's grey values, brought to one size so that faces compare."""
    height, width = image.shape[:2]
    left, top = np.clip(face.box[:2], 0, (width - 2, height - 2)).astype(int)
    right, bottom = np.clip(face.box[2:], (left + 2, top + 2), (width, height)).astype(int)
    grey = cv2.cvtColor(image[top:bottom, left:right], cv2.COLOR_RGB2GRAY)
    face_image = cv2.resize(grey, (_SHARPNESS_SIDE, _SHARPNESS_SIDE), interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(face_image, cv2.CV_32F).var())
