"""A trained predictor on disk: `model.safetensors` and `config.json` in one folder."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from mggtalk.config import load_yaml_mapping, validate
from mggtalk.errors import StageError
from mggtalk.models.config import ModelConfig
from mggtalk.models.predictor import TalkingHeadPredictor

WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"
FORMAT_VERSION = 9
"""9: `deformation.landmarks` became `deformation.landmark_embeddings`."""


def dump_predictor(predictor: TalkingHeadPredictor, training: dict[str, Any]) -> dict[str, bytes]:
    """Return the files of a model folder by name; equal weights give equal bytes.

    Args:
        training: origin of the weights (parameters, data), kept in `config.json` for people.

    Raises:
        ValueError: weights were rounded by `TalkingHeadPredictor.for_inference`.
    """
    if rounded := [name for name, weight in predictor.named_parameters() if weight.dtype != torch.float32]:
        raise ValueError(
            f"{rounded[0]} and {len(rounded) - 1} others are rounded for inference: store a predictor before"
        )
    content = {"version": FORMAT_VERSION, "model": dataclasses.asdict(predictor.settings), "training": training}
    weights = {name: value.detach().cpu().contiguous() for name, value in predictor.state_dict().items()}
    return {WEIGHTS_NAME: save(weights), CONFIG_NAME: (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()}


def load_predictor(directory: Path) -> TalkingHeadPredictor:
    """Return the predictor in a model folder, on the CPU, in evaluation mode.

    Raises:
        StageError: a file is missing, damaged, of another format, or weights and configuration do not fit.
    """
    if not (directory / CONFIG_NAME).is_file():
        raise StageError(f"{directory / CONFIG_NAME}: no such file; run the train stage")
    content = load_yaml_mapping(directory / CONFIG_NAME, StageError)
    if content.get("version") != FORMAT_VERSION:
        raise StageError(
            f"{directory / CONFIG_NAME}: model format {content.get('version')!r}, expected {FORMAT_VERSION}; "
            "train again with `python -m pipelines.train`"
        )
    settings = validate(
        content.get("model"), ModelConfig, f"{directory / CONFIG_NAME}: model", StageError, complete=True
    )
    predictor = TalkingHeadPredictor(settings)
    path = directory / WEIGHTS_NAME
    try:
        predictor.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise StageError(f"{path}: no such file; run the train stage") from None
    except (SafetensorError, RuntimeError) as cause:
        raise StageError(f"{path}: weights do not fit {CONFIG_NAME} or are damaged: {cause}") from cause
    return predictor.eval()
