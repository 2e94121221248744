"""A training run as a whole: what names it, what every worker is told, and what worker 0 writes at the end."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mggtalk.artifacts import Artifacts
from mggtalk.files import atomic_write
from mggtalk.fingerprint import code_digest, content_key, library_versions
from mggtalk.models.checkpoint import dump_predictor
from mggtalk.shards.reader import Shards
from mggtalk.training.config import TrainConfig
from mggtalk.training.loop import Report, Worker, check_fit, train
from mggtalk.training.losses.perceptual import find_network


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """What every worker is told.

    Attributes:
        shards, checkpoint, model: absolute, because Ray Train gives its workers a working directory of their own; of
            the shards also a URL. The checkpoint is of this very run, by its content key; the model is the result's
            folder.
        origin: what the model was made of, for people.
    """

    settings: TrainConfig
    shards: Path | str
    checkpoint: Path
    run_key: str
    model: Path
    origin: Mapping[str, Any]

    def work(self, worker: Worker, report: Report) -> None:
        """Train as one worker; worker 0 writes the model."""
        predictor = train(self.settings, Shards(self.shards), worker, self.checkpoint, self.run_key, report)
        if worker.rank == 0:
            for name, content in dump_predictor(predictor, dict(self.origin)).items():
                atomic_write(self.model / name, content)


def plan_run(settings: TrainConfig, location: Path | str, artifacts: Artifacts) -> TrainingRun:
    """Return the run that these settings, shards and code name.

    Raises:
        ShardError: the shards are missing or damaged. StageError: they do not fit the settings.
        WeightsError: the network of the perceptual term is missing.
    """
    shards = Shards(location)  # a missing or damaged data set shows here, before any worker starts
    check_fit(settings, shards)  # and a misfit, before anything of a run before is lost
    network = find_network(settings.loss)
    origin = {"settings": dataclasses.asdict(settings), "data": shards.index_sha256()}
    if network:
        origin["perceptual_network"] = network.sha256
    run_key = content_key(
        **origin | {"settings": settings.course()},
        code=code_digest(train.__module__),
        libraries=library_versions("torch", "gsplat", *(["transformers"] if network else [])),
    )
    checkpoint = (artifacts.staging("train") / f"{run_key}.pt").resolve()
    return TrainingRun(settings, location, checkpoint, run_key, artifacts.model.resolve(), origin)
