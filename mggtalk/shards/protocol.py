"""The metric protocol: data and definition of every metric, stated in the card and in `metrics.json`.

Papers report figures for one method that differ by decibels, because crops, masks and frames differ. So the definitions
travel with the shards, and figures are compared only under one version; docs/evaluation.md explains each metric.
"""

from typing import Any

PROTOCOL_VERSION = 2
"""Raised when a metric is added or its meaning changes."""

# Two equal images have an infinite PSNR, which neither JSON nor a mean can hold. One grey level in one of
# 256 x 256 x 3 values is 101 dB, so no difference that matters reaches the cap.
PSNR_CAP_DB = 100.0
SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
LANDMARK_SCALE = 256

MASK = "psnr, ssim: pixels inside the video frame; ..._head: those of them in the driver's head mask"
SOURCE_FRAME = "the first source frame of the clip"
DRIVERS = "every frame_step-th frame of the clip but the source, the first max_frames_per_clip"
AVERAGE = "over the frames where every method has the value, then over clips"
METRIC_DEFINITIONS = {
    "psnr": f"dB, 0-255, at most {PSNR_CAP_DB:g}",
    "psnr_head": f"dB, 0-255, at most {PSNR_CAP_DB:g}",
    "ssim": f"Gaussian window {SSIM_WINDOW} px, sigma {SSIM_SIGMA}, RGB, grey outside the video frame",
    "ssim_head": "the same map, averaged over the head",
    "csim": "cosine of the identity embeddings of result and driver",
    "csim_source": "cosine of the identity embeddings of result and source",
    "aed": "mean absolute difference of the expression coefficients of result and driver",
    "apd": "mean absolute difference of yaw, pitch and roll of result and driver, degrees",
    "akd": f"mean distance of the landmarks of result and driver, pixels at {LANDMARK_SCALE} px",
}


def shards_protocol(*, size: int, crop_margin: float, head_parsing: str) -> dict[str, Any]:
    """Return the part of the protocol that the shards fix: all but the model's resolution, the instruments, the split.

    Args:
        size: side of the stored crop in pixels. crop_margin: ratio of its side to that of the head's box over the clip.
        head_parsing: the backend that masks heads; its models' hashes are in the card.
    """
    return {
        "version": PROTOCOL_VERSION,
        "crop": {"shape": "square, fixed over the clip, around the head's box", "margin": crop_margin, "size": size},
        "head_mask": head_parsing,
        "mask": MASK,
        "source_frame": SOURCE_FRAME,
        "drivers": DRIVERS,
        "average": AVERAGE,
        "metrics": dict(METRIC_DEFINITIONS),
    }
