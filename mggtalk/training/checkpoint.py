"""Saves and restores the state of a training run; a checkpoint is on disk as a whole or not at all."""

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
    """All state that changes from step to step."""

    module: nn.Module
    ema: nn.Module
    optimizer: Optimization
    schedule: LRScheduler
    loader: PairLoader


def save_state(path: Path, run_key: str, step: int, state: RunState) -> None:
    """Write the state after `step` steps; the file appears complete under its name, even if the power fails."""
    content = {
        "run_key": run_key,
        "step": step,
        "module": state.module.state_dict(),
        "ema": state.ema.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "schedule": state.schedule.state_dict(),
        "loader": state.loader.state_dict(),
    }
    with atomic_path(path) as partial:
        torch.save(content, partial)


def read_state(path: Path, run_key: str) -> dict[str, Any] | None:
    """Return the content of the checkpoint at `path`, on the CPU; None if this run has no intact one."""
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
    """Load the checkpoint that `read_state` returned, if any, into `state` and return it."""
    if content is None:
        return state
    state.module.load_state_dict(content["module"])
    state.ema.load_state_dict(content["ema"])
    state.optimizer.load_state_dict(content["optimizer"])
    state.schedule.load_state_dict(content["schedule"])
    state.loader.load_state_dict(content["loader"])
    _logger.info("train: going on after step %d", content["step"])
    return state
