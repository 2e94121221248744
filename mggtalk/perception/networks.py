"""Loads networks of the library transformers from local folders, and runs them in batches; downloads nothing."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from torch import Tensor

from mggtalk import heartbeat
from mggtalk.errors import INSTALL_NETWORKS, WeightsError
from mggtalk.perception.network_images import read_json

_UNUSED = ("mask_token", "num_batches_tracked")  # of DINOv2 and batch norms; needed for training only
# The batch size bounds the memory of a worker; a GPU needs several images to be busy.
_BATCH = {"cuda": 8, "cpu": 2}


def default_device() -> str:
    """Return `cuda` where there is a CUDA device, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def check_library(wanted_by: str) -> None:
    """Check that the library of the networks is installed, without importing it.

    Raises:
        WeightsError: it is not installed.
    """
    if importlib.util.find_spec("transformers") is None:
        raise WeightsError(f"{wanted_by} needs the package transformers; run `{INSTALL_NETWORKS}`")


def load_network(class_name: str, model_type: str, folder: Path, device: str, dtype: torch.dtype | None = None) -> Any:
    """Return a network of transformers for inference.

    Args:
        class_name: in transformers. model_type: expected in `config.json`.
        folder: with `config.json` and `model.safetensors`.
        dtype: of its weights; default: float16 on CUDA, float32 elsewhere.

    Raises:
        WeightsError: transformers is not installed, or the folder holds another network or lacks weights.
    """
    check_model_type(folder, model_type)
    check_library(class_name)
    import transformers  # noqa: PLC0415  seconds to import, and optional

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()  # otherwise it lists every weight in the file that it does not use
    dtype = dtype or (torch.float16 if torch.device(device).type == "cuda" else torch.float32)
    try:
        network, report = getattr(transformers, class_name).from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=dtype, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise WeightsError(f"{folder}: cannot be read as a {class_name}: {error}") from error
    # The library fills missing weights with random numbers and goes on.
    if missing := sorted(key for key in report["missing_keys"] if not key.endswith(_UNUSED)):
        raise WeightsError(f"{folder}: {len(missing)} weights of a {class_name} are missing: {', '.join(missing[:5])}")
    return network.to(device).eval()


def check_model_type(folder: Path, expected: str) -> None:
    """Check the type of the network in a folder, without loading it.

    Raises:
        WeightsError: it is another type.
    """
    found = read_json(folder / "config.json").get("model_type")
    if found != expected:
        raise WeightsError(f"{folder / 'config.json'}: model_type is {found!r}, expected {expected!r}")


def in_batches(
    network: Callable[[Float[Tensor, "batch 3 height width"]], Tensor],
    prepare: Callable[[UInt8[Tensor, "batch size size 3"]], Float[Tensor, "batch 3 height width"]],
    images: UInt8[np.ndarray, "num_images size size 3"],
    device: str,
) -> Iterator[Tensor]:
    """Yield the network's output for the images, float32 on the device, in batches with a heartbeat after each."""
    kind = torch.device(device).type
    dtype = torch.float16 if kind == "cuda" else torch.float32
    for start in range(0, len(images), _BATCH[kind]):
        batch = torch.from_numpy(np.ascontiguousarray(images[start : start + _BATCH[kind]])).to(device)
        with torch.inference_mode():
            yield network(prepare(batch).to(dtype)).float()
        heartbeat.beat()
