"""Networks of the library transformers, from folders of files that are there; nothing is downloaded here."""

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

_UNUSED = ("mask_token", "num_batches_tracked")  # DINOv2's and batch norms', for their training
# What runs at once bounds the memory of a worker; a GPU needs several images to be busy.
_BATCH = {"cuda": 8, "cpu": 2}


def default_device() -> str:
    """Return `cuda` where there is a CUDA device, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def check_library(wanted_by: str) -> None:
    """Check that the library of the networks is installed, without importing it.

    Raises:
        WeightsError: it is not.
    """
    if importlib.util.find_spec("transformers") is None:
        raise WeightsError(f"{wanted_by} needs the package transformers; run `{INSTALL_NETWORKS}`")


def load_network(class_name: str, model_type: str, folder: Path, device: str, dtype: torch.dtype | None = None) -> Any:
    """Return a network of transformers for inference.

    Args:
        class_name: in transformers. model_type: what `config.json` has to say.
        folder: with `config.json` and `model.safetensors`.
        dtype: of its weights; default: float16 on CUDA, float32 elsewhere.

    Raises:
        WeightsError: transformers is not installed; the folder holds another network, or not all of its weights.
    """
    check_model_type(folder, model_type)
    check_library(class_name)
    import transformers  # noqa: PLC0415  seconds to import, and optional

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()  # it tells at length of weights that are there and not asked for
    dtype = dtype or (torch.float16 if torch.device(device).type == "cuda" else torch.float32)
    try:
        network, report = getattr(transformers, class_name).from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=dtype, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise WeightsError(f"{folder}: cannot be read as a {class_name}: {error}") from error
    # The library fills these with random numbers and goes on.
    if missing := sorted(key for key in report["missing_keys"] if not key.endswith(_UNUSED)):
        raise WeightsError(f"{folder}: {len(missing)} weights of a {class_name} are missing: {', '.join(missing[:5])}")
    return network.to(device).eval()


def check_model_type(folder: Path, expected: str) -> None:
    """Check that a folder holds a network of a kind, without loading it.

    Raises:
        WeightsError: it does not.
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
    """Yield what the network says of the images, float32 on the device, some images at a time; see `heartbeat`."""
    kind = torch.device(device).type
    dtype = torch.float16 if kind == "cuda" else torch.float32
    for start in range(0, len(images), _BATCH[kind]):
        batch = torch.from_numpy(np.ascontiguousarray(images[start : start + _BATCH[kind]])).to(device)
        with torch.inference_mode():
            yield network(prepare(batch).to(dtype)).float()
        heartbeat.beat()
