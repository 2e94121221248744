"""The state of a training run on disk, whole or not at all."""

import logging
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from mggtalk.files import atomic_path
from mggtalk.training.data.loader import PairLoader
from mggtalk.training.optimization import Optimization

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class RunState:
    """All that changes from step to step."""

    module: nn.Module
    average: nn.Module
    optimizer: Optimization
    schedule: LRScheduler
    loader: PairLoader


def save_state(path: Path, run_key: str, step: int, state: RunState) -> None:
    """Write the state after `step` steps; the file appears whole under its name, even if the power is cut."""
    content = {
        "run_key": run_key,
        "step": step,
        "module": state.module.state_dict(),
        "average": state.average.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "schedule": state.schedule.state_dict(),
        "loader": state.loader.state_dict(),
    }
    with atomic_path(path) as partial:
        torch.save(content, partial)


def read_state(path: Path, run_key: str) -> dict[str, Any] | None:
    """Return the content of the checkpoint at `path`, on the CPU; None where this run has none that is whole."""
    if not path.exists():
        return None
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        found_key = content["run_key"]
    except (RuntimeError, ValueError, TypeError, KeyError, EOFError, BadZipFile, pickle.UnpicklingError) as damage:
        reason = next(iter(str(damage).splitlines()), type(damage).__name__)
        _logger.warning("train: %s is damaged (%s); starting anew", path, reason)
        return None
    if found_key != run_key:
        _logger.info("train: %s is of another run (other parameters, data or code); starting anew", path)
        return None
    return content


def restored(content: dict[str, Any] | None, state: RunState) -> RunState:
    """Return `state` after it was brought to what `read_state` returned, if that is anything."""
    if content is None:
        return state
    state.module.load_state_dict(content["module"])
    state.average.load_state_dict(content["average"])
    state.optimizer.load_state_dict(content["optimizer"])
    state.schedule.load_state_dict(content["schedule"])
    state.loader.load_state_dict(content["loader"])
    _logger.info("train: going on after step %d", content["step"])
    return state
