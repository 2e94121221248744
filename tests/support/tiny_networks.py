"""Saves tiny networks of the right types, with random weights, in the layout of a hub."""

import json
from pathlib import Path
from typing import Any

import torch

CELEBA_LABELS = (
    *("background", "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear"),
    *("mouth", "u_lip", "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth"),
)
MEAN, DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def save_depth_network(folder: Path, estimation: str = "relative", side: int = 56) -> Path:
    """Save a Depth Anything of four layers and 16 channels."""
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

    torch.manual_seed(0)
    backbone: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "mlp_ratio": 2,
        "image_size": 56,
        "patch_size": 14,
        "out_indices": [1, 2, 3, 4],
        "reshape_hidden_states": False,
        "initializer_range": 0.2,
    }
    config = DepthAnythingConfig(
        backbone_config=Dinov2Config(**backbone),
        reassemble_hidden_size=16,
        neck_hidden_sizes=[4, 4, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=4,
        depth_estimation_type=estimation,
        max_depth=20 if estimation == "metric" else 1,
        initializer_range=0.1,
    )
    network = DepthAnythingForDepthEstimation(config)
    assert network.head.conv3.bias is not None
    torch.nn.init.constant_(network.head.conv3.bias, 1.0)  # else half of the outputs are cut off at 0
    _save(network, folder)
    size = {"size": {"height": side, "width": side}, "resample": 3, "keep_aspect_ratio": True, "ensure_multiple_of": 14}
    return _write_preprocessing(folder, size)


def save_parsing_network(folder: Path, labels: tuple[str, ...] = CELEBA_LABELS, side: int = 64) -> Path:
    """Save a SegFormer with one layer per stage."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    torch.manual_seed(0)
    config = SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[4, 4, 8, 8],
        num_attention_heads=[1, 1, 1, 1],
        decoder_hidden_size=8,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
        initializer_range=0.5,
    )
    _save(SegformerForSemanticSegmentation(config), folder)
    return _write_preprocessing(folder, {"size": {"height": side, "width": side}, "resample": 2})


def save_feature_network(folder: Path, seed: int = 0) -> Path:
    """Save a ResNet with one layer per stage and a classifier on top, as those of the hub have."""
    from transformers import ResNetConfig, ResNetForImageClassification

    torch.manual_seed(seed)
    sizes: dict[str, Any] = {"embedding_size": 4, "hidden_sizes": [4, 8, 8, 8], "depths": [1, 1, 1, 1]}
    _save(ResNetForImageClassification(ResNetConfig(layer_type="basic", **sizes)), folder)
    return _write_preprocessing(folder, {"size": 224, "crop_pct": 0.875, "resample": 3})


def _save(network: Any, folder: Path) -> None:
    import transformers

    transformers.utils.logging.disable_progress_bar()
    network.save_pretrained(folder)


def _write_preprocessing(folder: Path, content: dict[str, object]) -> Path:
    common = {"do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}
    content = {**common, "image_mean": MEAN, "image_std": DEVIATION, **content}
    (folder / "preprocessor_config.json").write_text(json.dumps(content))
    return folder
