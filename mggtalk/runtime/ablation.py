"""The ablation: trains and evaluates the full method and its variants with one budget each, and tabulates them.

Every variant has a folder of its own, `ablation/NAME/` among the artifacts, with its parameters, model, training and
evaluation; data are shared. What is done stays done: trainings go on from their checkpoints, evaluations are kept by
content keys. So a run can be cut off, done in pieces, or trained on one machine and evaluated on another.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import yaml

from mggtalk.artifacts import Artifacts
from mggtalk.config import load_yaml_mapping, plain_values
from mggtalk.errors import ParamsError, StageError
from mggtalk.evaluation.ablation import VARIANTS, Variant, markdown, tabulate
from mggtalk.evaluation.config import EvaluateConfig
from mggtalk.evaluation.summary import METRICS_FILE
from mggtalk.files import atomic_write
from mggtalk.fingerprint import code_digest, content_key, library_versions
from mggtalk.models.checkpoint import CONFIG_NAME, WEIGHTS_NAME
from mggtalk.result_cache import ResultCache
from mggtalk.runtime.ray_session import ray_session
from mggtalk.runtime.stage_command import StageArguments, shards_location
from mggtalk.runtime.train_runner import Launcher
from mggtalk.shards.reader import Shards
from mggtalk.training.config import TrainConfig

_logger = logging.getLogger(__name__)

Train = Callable[[StageArguments, Launcher, str | None], None]

FOLDER = "ablation"
TABLE_FILE, JSON_FILE = "table.md", "ablation.json"


@dataclass(frozen=True, slots=True)
class EvaluateStage:
    """The stage `evaluate`: imported at its first call, because hosts that only train need no MediaPipe and no PyAV.

    Attributes:
        module: has the function `run`; its code is what the figures depend on.
    """

    module: str

    def __call__(self, arguments: StageArguments, shards_url: str | None) -> None:
        """Evaluate one model."""
        import_module(self.module).run(arguments, shards_url)


@dataclass(frozen=True, slots=True)
class AblateOptions:
    """The work to do.

    Attributes:
        names: of the variants that are trained and evaluated; empty for all.
        trains, evaluates: do this half of the work; the table follows an evaluation.
        launcher: see `pipelines.train`. shards_url: read the shards from there.
    """

    names: Sequence[str] = ()
    trains: bool = True
    evaluates: bool = True
    launcher: Launcher = "ray"
    shards_url: str | None = None


@dataclass(frozen=True, slots=True)
class _Planned:
    """A variant with its parameters, as the stages take them."""

    variant: Variant
    arguments: StageArguments
    training: TrainConfig
    evaluation: EvaluateConfig


def run(
    arguments: StageArguments,
    options: AblateOptions,
    train: Train,
    evaluate: EvaluateStage,
    variants: Sequence[Variant] = VARIANTS,
) -> None:
    """Train and evaluate the variants that are asked for, and write the table of all that have been evaluated.

    Args:
        train, evaluate: the stages themselves; `train` is `pipelines.train.run`.

    Raises:
        ParamsError: parameters or overrides do not fit.
        StageError: a name is unknown, or a model is missing or not that of its variant; or as the stages.
    """
    if unknown := set(options.names) - {variant.name for variant in variants}:
        known = ", ".join(variant.name for variant in variants)
        raise StageError(f"--variants: got {', '.join(sorted(unknown))}; expected some of {known}")
    planned = [_plan(arguments, variant) for variant in variants]
    asked = [plan for plan in planned if not options.names or plan.variant.name in options.names]
    for plan in asked:
        text = yaml.safe_dump(plan.arguments.params.resolved(), sort_keys=False, allow_unicode=True)
        atomic_write(plan.arguments.artifacts.root / "params.yaml", text.encode())
    if options.trains:
        for plan in asked:
            _logger.info("ablate: training %s", plan.variant.name)
            train(plan.arguments, options.launcher, options.shards_url)
    if not options.evaluates:
        return
    data = Shards(shards_location(arguments.artifacts, options.shards_url)).index_sha256()
    for plan in asked:
        _check_model(plan, data)
    finished = ResultCache(arguments.artifacts.staging(FOLDER), ".json")
    with ray_session():  # one for all
        for plan in asked:
            _evaluate(plan, evaluate, options.shards_url, data, finished)
    _write_table(arguments.artifacts.root / FOLDER, planned, evaluate, data, finished)


def _plan(arguments: StageArguments, variant: Variant) -> _Planned:
    """Return the parameters of a variant, checked."""
    if strangers := [key for key in arguments.params.overrides if key.split(".")[0] not in ("train", "evaluate")]:
        raise ParamsError(
            f"override {strangers[0]!r}: an ablation has parameters of the groups train and evaluate only"
        )
    params = arguments.params.changed(variant.overrides, f"variant {variant.name}")
    training = params.group("train", TrainConfig)
    full = _flat({"train": plain_values(arguments.params.group("train", TrainConfig))})
    for key, value in variant.overrides.items():
        if full.get(key) == value:
            raise ParamsError(
                f"{arguments.params}: {key}: got {value}, which is what makes {variant.name}; "
                "an ablation starts from the full method"
            )
    root = arguments.artifacts.root
    artifacts = Artifacts(root / FOLDER / variant.name, data_root=root)
    return _Planned(variant, StageArguments(params, artifacts), training, params.group("evaluate", EvaluateConfig))


def _check_model(plan: _Planned, data: str) -> None:
    """Check that the model of a variant was trained with its parameters, on these shards.

    Raises:
        StageError: it was not, or there is none.
    """
    for name in (WEIGHTS_NAME, CONFIG_NAME):
        path = plan.arguments.artifacts.model / name
        if not path.is_file():
            raise StageError(f"{path}: no such file; train the variant {plan.variant.name} first")
    if faults := _mismatches(plan, load_yaml_mapping(path, StageError), data):
        raise StageError(
            f"{path}: not the variant {plan.variant.name} of these parameters and shards: {'; '.join(faults)}"
        )


def _mismatches(plan: _Planned, found: Mapping[str, Any], data: str) -> list[str]:
    origin = found.get("training")
    if not isinstance(origin, Mapping) or not isinstance(origin.get("settings"), Mapping):
        return ["training.settings: got nothing that can be read, expected the parameters of the training"]
    course = json.loads(json.dumps(plan.training.course()))
    wanted = _flat({"train": course, "data": data})
    there = _flat({"train": {**origin["settings"], "model": found.get("model")}, "data": origin.get("data")})
    return [
        f"{key}: got {there.get(key, 'nothing')}, expected {value}"
        for key, value in wanted.items()
        if there.get(key, "nothing") != value
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _evaluate(
    plan: _Planned, evaluate: EvaluateStage, shards_url: str | None, data: str, finished: ResultCache
) -> None:
    folder = plan.arguments.artifacts.evaluation
    key = _evaluation_key(plan, evaluate, data)
    metrics = folder / METRICS_FILE  # with the report beside it; that of another evaluation is made anew
    if finished.path(key).is_file() and metrics.is_file() and metrics.read_bytes() == finished.read(key):
        _logger.info("ablate: %s was evaluated before", plan.variant.name)
        return
    _logger.info("ablate: evaluating %s", plan.variant.name)
    evaluate(plan.arguments, shards_url)
    finished.write(key, metrics.read_bytes())


def _evaluation_key(plan: _Planned, evaluate: EvaluateStage, data: str) -> str:
    """Return the content key of a model's figures: of its weights, the clips, the protocol and the code."""
    # Hosts that only train need no MediaPipe and no PyAV.
    from mggtalk.evaluation.run import LIBRARIES, identity_weights_are_there  # noqa: PLC0415

    return content_key(
        weights=hashlib.sha256((plan.arguments.artifacts.model / WEIGHTS_NAME).read_bytes()).hexdigest(),
        settings=plan.evaluation,
        data=data,
        instruments=identity_weights_are_there(plan.evaluation),
        device="cuda" if torch.cuda.is_available() else "cpu",
        code=code_digest(evaluate.module),
        libraries=library_versions(*LIBRARIES),
    )


def _write_table(
    folder: Path, planned: Sequence[_Planned], evaluate: EvaluateStage, data: str, finished: ResultCache
) -> None:
    evaluated, missing = {}, []
    for plan in planned:
        config = plan.arguments.artifacts.model / CONFIG_NAME
        weights = plan.arguments.artifacts.model / WEIGHTS_NAME
        is_there = (
            weights.is_file()
            and config.is_file()
            and not _mismatches(plan, load_yaml_mapping(config, StageError), data)
        )
        if is_there and finished.path(key := _evaluation_key(plan, evaluate, data)).is_file():
            evaluated[plan.variant.name] = json.loads(finished.read(key))
        else:
            missing.append(plan.variant.name)
    table = tabulate(evaluated, [plan.variant for plan in planned])
    budget = json.loads(json.dumps(planned[0].training.course()))
    content = {"protocol": next(iter(evaluated.values()))["protocol"], "train": budget, "data": data, **table}
    text = json.dumps(content, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    atomic_write(folder / JSON_FILE, f"{text}\n".encode())
    atomic_write(folder / TABLE_FILE, markdown(table).encode())
    _logger.info("ablate: %d variants in %s", len(evaluated), folder / TABLE_FILE)
    if missing:
        _logger.info(
            "ablate: not in the table, for not trained and evaluated with these parameters: %s", ", ".join(missing)
        )
