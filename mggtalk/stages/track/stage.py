"""`track`: a video becomes clips of one face without a cut: landmarks, expression, pose and quality of every frame.

Writes no pixels. Every frame of the video has a status: it is part of a clip, or is dropped for a reason. A long
video is tracked in parts, so memory is bounded and several workers share it; a clip never spans two parts. A container
without an index is one part, because a later part would have to decode everything before it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from mggtalk.errors import VideoError
from mggtalk.geometry.head.head_shape import key_frames
from mggtalk.geometry.head.landmark_sets import landmark_set
from mggtalk.perception.landmarks.backends import make_landmarker
from mggtalk.perception.landmarks.expression_basis import pca_expression, pca_names
from mggtalk.perception.landmarks.face_detector import FullRangeFaceDetector
from mggtalk.perception.landmarks.face_finder import FaceFinder
from mggtalk.perception.landmarks.hands import HandFinder
from mggtalk.perception.shot_cuts import CutDetector
from mggtalk.records import ClipTrack, Rejected, RejectReason, Segment, TrackedVideo, VideoPart, VideoRecord
from mggtalk.stages.track.clip_segmentation import FrameRun, FrameStatus, maximal_runs, split_runs
from mggtalk.stages.track.config import DETECTOR_MODEL, HAND_MODELS, TrackConfig
from mggtalk.stages.track.frame_analysis import FrameObservation, FrameObserver
from mggtalk.stages.track.head_fitting import HeadSolver, SolvedRun
from mggtalk.video.container import is_indexed
from mggtalk.video.decode import ResampledVideo, open_video

PART_S = 90.0
"""Length of the parts of a long video: 13 MB of landmarks at 25 frames/s; opening an hour of 1080p takes 2 s."""

_LEAST_PART_BYTES = 1 << 15
"""Of a still image, at the lowest rates that encoders go to."""
_FOCAL_FRAMES = 24
"""That tell the focal length of a video in parts."""

Landmarks = Float32[np.ndarray, "num_landmarks 3"]


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
        statuses = [observation.status for observation in seen]
        solved = self._solve((video.width, video.height), seen, statuses, sample)
        runs = split_runs(statuses, *self._settings.clip_frames)
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
            yield FrameObservation(FrameStatus(RejectReason.DECODE_ERROR, begins_run=False))

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
        statuses: list[FrameStatus],
        sample: list[Landmarks] | None,
    ) -> list[SolvedRun]:
        """Return the heads of all runs that are long enough; frames that their poses rule out get their status.

        Args:
            sample: what tells the focal length of a video in parts, the same for each of them.
        """
        least, _ = self._settings.clip_frames
        runs = [run for run in maximal_runs(statuses) if run.reason is None and run.stop - run.start >= least]
        if not runs:
            return []
        solver = HeadSolver(self._landmarks, self._settings.camera_distance_cm, frame_size)
        longest = max(runs, key=lambda run: run.stop - run.start)
        focal = solver.focal(np.stack(sample) if sample else _landmarks(seen[longest.frames]))
        solved = [solver.solve(run, _landmarks(seen[run.frames]), focal) for run in runs]
        for head in solved:
            statuses[head.run.frames] = map(self._judged, statuses[head.run.frames], head.yaw_deg, head.confidence)
        return solved

    def _judged(self, status: FrameStatus, yaw_deg: float, confidence: float) -> FrameStatus:
        if abs(yaw_deg) > self._settings.max_yaw_deg:
            return replace(status, reason=RejectReason.EXTREME_POSE)
        return replace(
            status, reason=RejectReason.LOW_CONFIDENCE if confidence < self._settings.min_confidence else None
        )

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
