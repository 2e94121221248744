"""The door to a trained model: `mggtalk.load_model`."""

from pathlib import Path

import torch

from mggtalk.models.checkpoint import load_predictor
from mggtalk.models.reenactor import Reenactor


def load_model(path: Path | str, device: torch.device | str | None = None) -> Reenactor:
    """Load a trained model, ready to reconstruct heads and to animate them.

    Example:
        ```python
        shards = mggtalk.open_shards("artifacts/shards", "test")
        model = mggtalk.load_model("artifacts/model")
        clip = shards.clips()[0]
        head = model.reconstruct(shards.source_frame(clip.clip_id, clip.source_frames[0], model.resolution))
        driver = shards.head_frame(clip.clip_id, 5, model.resolution)
        image = model.render(head, driver.expression, driver.head_to_camera)  # uint8, resolution x resolution x 3
        ```

    Args:
        path: folder that the stage `train` wrote, such as `artifacts/model`.
        device: where the model runs; None for CUDA if there is a device, else the CPU.

    Raises:
        StageError: a file is missing, damaged, of another version, or weights and configuration do not fit.
    """
    default = "cuda" if torch.cuda.is_available() else "cpu"
    return Reenactor(load_predictor(Path(path)), default if device is None else device)
