"""Stage `evaluate`: the predictor is scored on held-out clips; see `mggtalk.evaluation` and docs/evaluation.md."""

import logging
import platform
import sys
from functools import partial
from pathlib import Path

import torch

from mggtalk.errors import ParamsError, StageError, run_main
from mggtalk.evaluation.protocols import IdentityEncoder
from mggtalk.evaluation.reenactment import EvaluateConfig, ReenactClip, driver_frames
from mggtalk.evaluation.report.curves import read_curves, read_last_image
from mggtalk.evaluation.report.html import ReportContent, write_report
from mggtalk.evaluation.report.rejects import StageCounts, read_rejects
from mggtalk.evaluation.results import ClipResult
from mggtalk.evaluation.speed import Speed, measure_speed
from mggtalk.evaluation.summary import Instruments, summarise, write_metrics
from mggtalk.fingerprint import library_versions
from mggtalk.models.checkpoint import load_predictor
from mggtalk.models.reenactor import ReconstructedHead, Reenactor
from mggtalk.params import load_group, load_yaml_mapping
from mggtalk.perception.identity import IdentityUnavailable, load_identity_encoder
from mggtalk.perception.landmarks.face_measurer import MediaPipeFaceMeasurer
from mggtalk.records import Rejected
from mggtalk.runtime.stage_command import (
    Artifacts,
    StageArguments,
    add_shards_argument,
    shards_place,
    stage_arguments,
    stage_parser,
    start_logging,
)
from mggtalk.runtime.stage_runner import run_stage
from mggtalk.shards.clips import ClipEntry
from mggtalk.shards.reader import Shards
from mggtalk.stages.ingest.stage import read_videos
from mggtalk.stages.tables import REJECTS_FILE, read_rows
from mggtalk.stages.track.tables import ClipRow
from mggtalk.stages.track.track_files import CLIPS_FILE
from mggtalk.video.encode import write_mp4
from mggtalk.visualization.inspection import inspection_jpeg
from mggtalk.weights.table import find, require

_logger = logging.getLogger(__name__)

_IDENTITY_MODEL = "dlib_face_recognition"
LIBRARIES = ("gsplat", "mediapipe", "mggtalk", "numpy", "opencv-contrib-python", "ray", "torch")


def run(arguments: StageArguments, shards_url: str | None = None) -> None:
    """Score every clip of the split, and write metrics, plots and the report.

    Args:
        shards_url: reads the shards from there (see `mggtalk.shards.open`), not from the artifacts. Then nothing of the
            stages before is needed but the model, and the report does not say what they left out.

    Raises:
        StageError: there is no model, a table of a stage before is missing or damaged, or no clip could be scored.
    """
    settings = load_group(arguments.params, "evaluate", EvaluateConfig)
    artifacts = arguments.artifacts
    place = shards_place(artifacts, shards_url)
    shards = Shards(place)
    clips = shards.clips(settings.split)
    # What is missing shows before anything is scored.
    counts_before = [] if shards_url else _counts_before(artifacts, shards)
    landmarker = require("face_landmarker")
    reenactor = _reenactor(artifacts.model)
    results: list[ClipResult] = []
    rejected: list[Rejected] = []

    def keep(_: ClipEntry, outcome: list[ClipResult | Rejected]) -> None:
        for result in outcome:
            if isinstance(result, Rejected):
                rejected.append(result)
            else:
                results.append(result)

    run_stage(
        partial(build_stage, settings, place, artifacts.model, landmarker),
        clips,
        name="evaluate",
        key_of=lambda clip: clip.clip_id,
        on_result=keep,
        unit="clip",
        amount_of=lambda clip: len(driver_frames(clip, settings)),
    )
    if not results:
        raise StageError(f"evaluate: none of {len(clips)} clips of the split {settings.split.value!r} could be scored")
    encoder = _identity_encoder(settings)
    instruments = Instruments(
        reenactor.resolution,
        MediaPipeFaceMeasurer.name,
        encoder if isinstance(encoder, IdentityUnavailable) else encoder.name,
    )
    summary = summarise(settings, instruments, results, _speed(settings, shards, results[0], reenactor))
    write_metrics(artifacts.evaluation, summary, results)
    own_counts = StageCounts("evaluate", "clips", len(clips), len(results), tuple(rejected))
    content = ReportContent(
        title="mggtalk",
        summary=summary,
        results=results,
        stages=(*counts_before, own_counts),
        curves=read_curves(artifacts.training),
        training_image=read_last_image(artifacts.training),
        parameters=load_yaml_mapping(arguments.params, ParamsError),
        versions={"python": platform.python_version(), **library_versions(*LIBRARIES)},
    )
    _logger.info("evaluate: report in %s", write_report(artifacts.evaluation, content))


def build_stage(
    settings: EvaluateConfig, shards: Path | str, model: Path, landmarker: Path
) -> ReenactClip[ReconstructedHead]:
    """Return the stage with all that it needs loaded; called in a worker."""
    reader = Shards(shards)
    return ReenactClip(
        settings,
        reader,
        _reenactor(model),
        MediaPipeFaceMeasurer(landmarker),
        _identity_encoder(settings),
        write_mp4,
        draw_inspection=partial(inspection_jpeg, reader),
    )


def _reenactor(model: Path) -> Reenactor:
    return Reenactor(load_predictor(model), "cuda" if torch.cuda.is_available() else "cpu")


def _identity_encoder(settings: EvaluateConfig) -> IdentityEncoder | IdentityUnavailable:
    if settings.identity_encoder == "none":
        return load_identity_encoder(None)
    is_there = identity_weights_are_there(settings)
    return load_identity_encoder(require(_IDENTITY_MODEL) if is_there else find(_IDENTITY_MODEL).path)


def identity_weights_are_there(settings: EvaluateConfig) -> bool:
    """Tell whether CSIM can be had: it is asked for, and the network's weights lie in the cache."""
    return settings.identity_encoder != "none" and find(_IDENTITY_MODEL).path.is_file()


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


def _counts_before(artifacts: Artifacts, shards: Shards) -> list[StageCounts]:
    """Return what the stages before kept and left out; what each one kept is what the next one began with."""
    rejects = {
        folder: read_rejects(folder / REJECTS_FILE) for folder in (artifacts.videos, artifacts.tracks, artifacts.shards)
    }
    num_videos = len(read_videos(artifacts.videos))
    clip_ids = [row.clip_id for row in read_rows(artifacts.tracks / CLIPS_FILE, ClipRow)]
    num_tracked = len({clip_id.rsplit("-f", 1)[0] for clip_id in clip_ids})  # a clip id begins with its video's
    num_ingested = num_videos + len(rejects[artifacts.videos])
    return [
        StageCounts("ingest", "inputs", num_ingested, num_videos, rejects[artifacts.videos]),
        StageCounts("track", "videos", num_videos, num_tracked, rejects[artifacts.tracks]),
        StageCounts("shards", "clips", len(clip_ids), len(shards.clips()), rejects[artifacts.shards]),
    ]


def main() -> int:
    """Run the stage on the process's command line and return its exit code."""
    parser = stage_parser(__doc__ or "")
    add_shards_argument(parser)
    options = parser.parse_args()
    start_logging()
    return run_main(lambda: run(stage_arguments(options), options.shards))


if __name__ == "__main__":
    sys.exit(main())
