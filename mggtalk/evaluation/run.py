"""The evaluation as a whole: what each worker builds, and what is written when all clips are scored."""

import logging
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mggtalk.artifacts import Artifacts
from mggtalk.errors import StageError
from mggtalk.evaluation.config import EvaluateConfig
from mggtalk.evaluation.protocols import IdentityEncoder
from mggtalk.evaluation.reenactment import ReenactClip, driver_frames
from mggtalk.evaluation.report.curves import read_curves, read_last_image
from mggtalk.evaluation.report.html import ReportContent, write_report
from mggtalk.evaluation.report.rejects import StageCounts
from mggtalk.evaluation.results import ClipResult
from mggtalk.evaluation.speed import Speed, measure_speed
from mggtalk.evaluation.summary import Instruments, summarise, write_metrics
from mggtalk.fingerprint import library_versions
from mggtalk.models.checkpoint import load_predictor
from mggtalk.models.reenactor import ReconstructedHead, Reenactor
from mggtalk.perception.identity import IdentityUnavailable, load_identity_encoder
from mggtalk.perception.landmarks.face_measurer import MediaPipeFaceMeasurer
from mggtalk.records import Rejected
from mggtalk.shards.clips import ClipEntry
from mggtalk.shards.reader import Shards
from mggtalk.video.encode import write_mp4
from mggtalk.visualization.inspection import inspection_jpeg
from mggtalk.weights.table import find, require

_logger = logging.getLogger(__name__)

_IDENTITY_MODEL = "dlib_face_recognition"
LIBRARIES = ("gsplat", "mediapipe", "mggtalk", "numpy", "opencv-contrib-python", "ray", "torch")


@dataclass(frozen=True, slots=True)
class EvaluationRun:
    """What is evaluated, on what.

    Attributes:
        shards: a folder or a URL. model: folder of the predictor. landmarker: model file of the face measurer.
    """

    settings: EvaluateConfig
    shards: Path | str
    model: Path
    landmarker: Path

    def worker(self) -> ReenactClip[ReconstructedHead]:
        """Return the stage that scores one clip, with everything it needs loaded; called in a worker."""
        reader = Shards(self.shards)
        return ReenactClip(
            self.settings,
            reader,
            self.reenactor(),
            MediaPipeFaceMeasurer(self.landmarker),
            _identity_encoder(self.settings),
            write_mp4,
            draw_inspection=partial(inspection_jpeg, reader),
        )

    def reenactor(self) -> Reenactor:
        """Return the trained model.

        Raises:
            StageError: there is none.
        """
        return Reenactor(load_predictor(self.model), "cuda" if torch.cuda.is_available() else "cpu")

    def num_drivers(self, clip: ClipEntry) -> int:
        """Return the number of frames that drive a clip."""
        return len(driver_frames(clip, self.settings))

    def write(
        self,
        artifacts: Artifacts,
        num_clips: int,
        outcomes: Sequence[ClipResult | Rejected],
        before: Sequence[StageCounts],
        parameters: Mapping[str, Any],
    ) -> None:
        """Measure the speed, and write metrics, plots and the report.

        Args:
            num_clips: of the split. outcomes: one a clip.
            before: counts of the stages before. parameters: for the report.

        Raises:
            StageError: no clip could be scored.
        """
        results = [outcome for outcome in outcomes if isinstance(outcome, ClipResult)]
        rejected = tuple(outcome for outcome in outcomes if isinstance(outcome, Rejected))
        if not results:
            split = self.settings.split.value
            raise StageError(f"evaluate: none of {num_clips} clips of the split {split!r} could be scored")
        reenactor, encoder = self.reenactor(), _identity_encoder(self.settings)
        instruments = Instruments(
            reenactor.resolution,
            MediaPipeFaceMeasurer.name,
            encoder if isinstance(encoder, IdentityUnavailable) else encoder.name,
        )
        speed = _speed(self.settings, Shards(self.shards), results[0], reenactor)
        summary = summarise(self.settings, instruments, results, speed)
        write_metrics(artifacts.evaluation, summary, results)
        content = ReportContent(
            title="mggtalk",
            summary=summary,
            results=results,
            stages=(*before, StageCounts("evaluate", "clips", num_clips, len(results), rejected)),
            curves=read_curves(artifacts.training),
            training_image=read_last_image(artifacts.training),
            parameters=parameters,
            versions={"python": platform.python_version(), **library_versions(*LIBRARIES)},
        )
        _logger.info("evaluate: report in %s", write_report(artifacts.evaluation, content))


def clips_to_score(settings: EvaluateConfig, shards: Path | str) -> tuple[ClipEntry, ...]:
    """Return the clips of the split.

    Raises:
        ShardError: the shards are missing or damaged.
    """
    return Shards(shards).clips(settings.split)


def identity_weights_are_there(settings: EvaluateConfig) -> bool:
    """Tell whether CSIM can be computed: it is asked for, and the network's weights are in the cache."""
    return settings.identity_encoder != "none" and find(_IDENTITY_MODEL).path.is_file()


def _identity_encoder(settings: EvaluateConfig) -> IdentityEncoder | IdentityUnavailable:
    if settings.identity_encoder == "none":
        return load_identity_encoder(None)
    is_there = identity_weights_are_there(settings)
    return load_identity_encoder(require(_IDENTITY_MODEL) if is_there else find(_IDENTITY_MODEL).path)


def _speed(settings: EvaluateConfig, shards: Shards, result: ClipResult, reenactor: Reenactor) -> Speed:
    size = reenactor.resolution
    return measure_speed(
        reenactor,
        shards.source_frame(result.clip_id, result.source_frame, size),
        [shards.head_frame(result.clip_id, frame, size) for frame in result.frames[: settings.speed_repeats]],
        warmup=settings.speed_warmup,
        repeats=settings.speed_repeats,
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
        threads=torch.get_num_threads(),
    )
