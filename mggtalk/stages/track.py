"""`track`: a video becomes clips of one face without a cut: landmarks, expression, pose and quality of every frame.

Writes no pixels. Every frame of the video has its fate: it is part of a clip, or is dropped for a reason. A long video
is tracked in parts, so memory is bounded and several workers share it; a clip never spans two parts. (Of containers
without an index the first part is all: a later one would have to decode everything before it.)
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32
from pydantic import Field

from mggtalk.errors import VideoError
from mggtalk.geometry.head_shape import key_frames
from mggtalk.params import config
from mggtalk.perception.expression_basis import pca_expression, pca_names
from mggtalk.perception.face_detector import FullRangeFaceDetector
from mggtalk.perception.face_finder import FaceFinder
from mggtalk.perception.hands import HandFinder
from mggtalk.perception.landmark_sets import landmark_set
from mggtalk.perception.landmarkers import LANDMARK_BACKENDS, LandmarkBackend, make_landmarker
from mggtalk.perception.shot_cuts import CutDetector
from mggtalk.records import ClipTrack, Rejected, RejectReason, Segment, TrackedVideo, VideoPart, VideoRecord
from mggtalk.stages.clips import FrameFate, FrameRun, maximal_runs, split_runs
from mggtalk.stages.observe import FrameLimits, FrameObservation, FrameObserver
from mggtalk.stages.solve import HeadSolver, SolvedRun
from mggtalk.video.container import is_indexed
from mggtalk.video.decode import ResampledVideo, open_video

PART_S = 90.0
"""Length of the parts of a long video: 13 MB of landmarks at 25 frames/s; opening an hour of 1080p takes 2 s."""

_LEAST_PART_BYTES = 1 << 15
"""Of a still picture, at the lowest rates that encoders go to."""
_FOCAL_FRAMES = 24
"""That tell the focal length of a video in parts."""

DETECTOR_MODEL = "face_detection_full_range"
HAND_MODELS = ("palm_detection", "hand_landmark")

Landmarks = Float32[np.ndarray, "num_landmarks 3"]


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


def num_parts(video: VideoRecord) -> int:
    """Return into how many parts a video is cut, by the length that its container states.

    Nothing depends on its truth: the last part goes on to the end. A file of few bytes has few parts, whatever it says.
    """
    most = 1 + video.size_bytes // _LEAST_PART_BYTES
    stated_s = min(video.end_s, video.duration_s) - video.start_s
    return int(np.clip(math.ceil(stated_s / PART_S), 1, most)) if math.isfinite(stated_s) else most


class TrackStage:
    """One `VideoPart` in; what became of it as a `TrackedVideo` out, without a clip where there is no usable run.

    Args:
        models: the verified files of `settings.models`, by their names.
        part_s: length of a part; must be that by which the records were cut.
    """

    def __init__(self, settings: TrackConfig, models: Mapping[str, Path], part_s: float = PART_S) -> None:
        self._part_frames = round(part_s * settings.fps)
        self._settings = settings
        self._landmarker = make_landmarker(settings.landmarks, models)
        self._detector = FullRangeFaceDetector(models[DETECTOR_MODEL])
        self._hands = HandFinder(*(models[name] for name in HAND_MODELS)) if settings.hands_every_s else None
        self._landmarks = landmark_set(settings.backend.landmark_set)

    def __call__(self, record: VideoPart) -> Iterator[TrackedVideo | Rejected]:
        """Yield what becomes of the part.

        Raises:
            VideoError: none of it can be decoded.
        """
        if record.number > 0 and not is_indexed(record.video.path):
            yield TrackedVideo(record.video, (), (), record.number)  # the first part has it all
            return
        video = open_video(record.video.path, self._settings.fps, record.video.start_s, record.video.end_s)
        start, stop = self._frames_of(record, video)
        seen = list(self._observe(video, start, stop, record.video.box))
        sample = None if record.num_parts == 1 else list(self._sample_landmarks(video, record.video.box))
        fates = [observation.fate for observation in seen]
        solved = self._solve((video.width, video.height), seen, fates, sample)
        runs = split_runs(fates, *self._settings.clip_frames)
        yield TrackedVideo(
            video=record.video,
            clips=tuple(
                self._clip(record.video, video, start, seen, run, solved) for run in runs if run.reason is None
            ),
            segments=tuple(_segment(record.video, start, run) for run in runs),
            part=record.number,
        )

    def _frames_of(self, record: VideoPart, video: ResampledVideo) -> tuple[int, int]:
        start = min(record.number * self._part_frames, video.num_frames)
        is_last = record.number == record.num_parts - 1 or not video.reader.indexed
        return start, video.num_frames if is_last else min(start + self._part_frames, video.num_frames)

    def _observe(
        self, video: ResampledVideo, start: int, stop: int, box: tuple[float, ...]
    ) -> Iterator[FrameObservation]:
        """Yield what is seen in every frame; those from one on that cannot be decoded are lost."""
        observer = FrameObserver(
            self._settings.limits,
            FaceFinder(self._landmarker, self._detector, box),
            self._hands,
            self._landmarks,
            CutDetector(self._settings.cut_threshold),
            hands_every=max(round(self._settings.hands_every_s * video.fps), 1),
            box=box,
            step_ms=_step_ms(video),
        )
        done = start
        try:
            for image in video.frames(start, stop):
                yield observer.observe(image)
                done += 1
        except VideoError:
            if done == start:
                raise
        for _ in range(done, stop):
            yield FrameObservation(FrameFate(RejectReason.DECODE_ERROR, begins_run=False))

    def _sample_landmarks(self, video: ResampledVideo, box: tuple[float, ...]) -> Iterator[Landmarks]:
        """Yield the landmarks of the largest face in frames from all over the video, each looked at by itself.

        They are key frames, for those are decoded alone.
        """
        frames = video.frame_index[video.reader.is_key_frame[video.frame_index]]
        for frame in frames[key_frames(len(frames), _FOCAL_FRAMES)] if len(frames) else ():
            try:
                (image,) = video.reader.frames([int(frame)])
            except VideoError:  # the part that it belongs to will say so
                continue
            faces = FaceFinder(self._landmarker, self._detector, box).detect(image, _step_ms(video))
            if faces:
                yield max(faces, key=lambda face: face.size).landmarks.astype(np.float32)

    def _solve(
        self,
        frame_size: tuple[int, int],
        seen: list[FrameObservation],
        fates: list[FrameFate],
        sample: list[Landmarks] | None,
    ) -> list[SolvedRun]:
        """Return the heads of all runs that are long enough; frames that their poses rule out get their fate.

        Args:
            sample: what tells the focal length of a video in parts, the same for each of them.
        """
        least, _ = self._settings.clip_frames
        runs = [run for run in maximal_runs(fates) if run.reason is None and run.stop - run.start >= least]
        if not runs:
            return []
        solver = HeadSolver(self._landmarks, self._settings.camera_distance_cm, frame_size)
        longest = max(runs, key=lambda run: run.stop - run.start)
        focal = solver.focal(np.stack(sample) if sample else _landmarks(seen[longest.frames]))
        solved = [solver.solve(run, _landmarks(seen[run.frames]), focal) for run in runs]
        for head in solved:
            fates[head.run.frames] = map(self._judged, fates[head.run.frames], head.yaw_deg, head.confidence)
        return solved

    def _judged(self, fate: FrameFate, yaw_deg: float, confidence: float) -> FrameFate:
        if abs(yaw_deg) > self._settings.max_yaw_deg:
            return replace(fate, reason=RejectReason.EXTREME_POSE)
        return replace(fate, reason=RejectReason.LOW_CONFIDENCE if confidence < self._settings.min_confidence else None)

    def _clip(
        self,
        record: VideoRecord,
        video: ResampledVideo,
        start: int,
        seen: list[FrameObservation],
        run: FrameRun,
        solved: list[SolvedRun],
    ) -> ClipTrack:
        (head,) = (head for head in solved if run in head)
        pose, kept = head.pose(run), seen[run.frames]
        frames = slice(start + run.start, start + run.stop)

        def by_frame(name: str) -> Float32[np.ndarray, " num_frames"]:
            return np.array([getattr(observation, name) for observation in kept], dtype=np.float32)

        expression_names = self._landmarker.expression_names
        if self._settings.expression == "pca":
            expression_names = pca_names(self._landmarks.name)
            expression = pca_expression(pose.landmarks, pose.neutral_landmarks, self._landmarks.name)
        else:
            expression = np.stack([seen.expression for seen in kept if seen.expression is not None])
        return ClipTrack(
            clip_id=_clip_id(record, frames.start),
            video=record,
            start_frame=frames.start,
            fps=video.fps,
            landmark_set=self._landmarks.name,
            expression_names=expression_names,
            intrinsics=pose.intrinsics,
            times_s=video.times_s[frames],
            frame_index=video.frame_index[frames],
            landmarks_px=_landmarks(kept)[..., :2],
            landmarks=pose.landmarks.astype(np.float32),
            neutral_landmarks=pose.neutral_landmarks.astype(np.float32),
            head_to_camera=pose.head_to_camera.astype(np.float32),
            expression=expression,
            face_size=by_frame("face_size"),
            sharpness=by_frame("sharpness"),
            confidence=head.confidence[head.frames_of(run)],
            hand_over_face=by_frame("hand_over_face"),
            num_faces=by_frame("num_faces"),
        )


def _landmarks(seen: Sequence[FrameObservation]) -> Float32[np.ndarray, "num_frames num_landmarks 3"]:
    return np.stack([observation.landmarks for observation in seen if observation.landmarks is not None])


def _step_ms(video: ResampledVideo) -> int:
    return max(round(1000 / video.fps), 1)


def _clip_id(record: VideoRecord, start_frame: int) -> str:
    return f"{record.video_id}-f{start_frame:06d}"


def _segment(record: VideoRecord, start: int, run: FrameRun) -> Segment:
    clip_id = _clip_id(record, start + run.start) if run.reason is None else None
    return Segment(record.video_id, start + run.start, run.stop - run.start, clip_id, run.reason)
