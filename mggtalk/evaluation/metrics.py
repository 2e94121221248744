"""Computes the metrics of one frame from two images or two measurements.

Images are compared on the 0-255 scale, only where the crop lies inside the video frame. An undefined value is NaN.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8
from torchmetrics.functional.image import structural_similarity_index_measure

from mggtalk.perception.landmarks.face_measurement import FaceMeasurement
from mggtalk.shards.protocol import LANDMARK_SCALE, PSNR_CAP_DB, SSIM_SIGMA, SSIM_WINDOW

METRICS = ("psnr", "psnr_head", "ssim", "ssim_head", "csim", "csim_source", "aed", "apd", "akd")
MASKED_GREY = 128


@dataclass(frozen=True, slots=True)
class FrameScores:
    """The metrics of one method on one frame; NaN where a face was not found or a network is missing."""

    psnr: float
    psnr_head: float
    ssim: float
    ssim_head: float
    csim: float
    csim_source: float
    aed: float
    apd: float
    akd: float


def psnr(
    prediction: UInt8[np.ndarray, "height width 3"],
    target: UInt8[np.ndarray, "height width 3"],
    counted: Bool[np.ndarray, "height width"],
) -> float:
    """Return the peak signal-to-noise ratio in dB over the counted pixels, at most `PSNR_CAP_DB`; NaN if none."""
    if not counted.any():
        return float("nan")
    difference = prediction[counted].astype(np.float64) - target[counted].astype(np.float64)
    mean_square = float(np.mean(difference**2))
    if mean_square == 0.0:
        return PSNR_CAP_DB
    return min(PSNR_CAP_DB, 10.0 * float(np.log10(255.0**2 / mean_square)))


def ssim_map(
    prediction: UInt8[np.ndarray, "height width 3"],
    target: UInt8[np.ndarray, "height width 3"],
    counted: Bool[np.ndarray, "height width"],
) -> Float32[np.ndarray, "height width"]:
    """Return the structural similarity of every pixel's neighbourhood, averaged over the channels.

    Gaussian window of 11 x 11, sigma 1.5. Pixels that do not count are set to one grey in both images first, so that
    their content cannot leak into their neighbours.

    Source: Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004, eq. 13.
    """
    # Single precision changes the result by 1e-6; double precision makes the convolutions 10 to 20 times slower.
    images = [np.where(counted[..., None], image, MASKED_GREY).astype(np.float32) for image in (prediction, target)]
    tensors = [torch.from_numpy(image).permute(2, 0, 1)[None] for image in images]
    _, similarity = structural_similarity_index_measure(
        tensors[0],
        tensors[1],
        gaussian_kernel=True,
        sigma=SSIM_SIGMA,
        kernel_size=SSIM_WINDOW,
        data_range=255.0,
        return_full_image=True,
    )
    return np.asarray(similarity[0].mean(dim=0).numpy())


def mean_over(values: Float32[np.ndarray, "height width"], counted: Bool[np.ndarray, "height width"]) -> float:
    """Return the mean of `values` over the counted pixels; NaN if none counts."""
    return float(values[counted].mean(dtype=np.float64)) if counted.any() else float("nan")


def cosine(first: Float[np.ndarray, " num_features"], second: Float[np.ndarray, " num_features"]) -> float:
    """Return the cosine of the angle between two embeddings."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def expression_distance(result: FaceMeasurement, driver: FaceMeasurement) -> float:
    """Return the mean absolute difference of the expression coefficients (AED)."""
    return float(np.mean(np.abs(result.expression.astype(np.float64) - driver.expression)))


def pose_distance(result: FaceMeasurement, driver: FaceMeasurement) -> float:
    """Return the mean absolute difference of yaw, pitch and roll in degrees (APD), the short way round."""
    difference = result.rotation_deg.astype(np.float64) - driver.rotation_deg
    return float(np.mean(np.abs((difference + 180.0) % 360.0 - 180.0)))


def landmark_distance(result: FaceMeasurement, driver: FaceMeasurement, size: int) -> float:
    """Return the mean distance between corresponding landmarks in pixels of a 256 px image (AKD).

    Args:
        size: side in pixels of the images that were measured.
    """
    difference = (result.landmarks_px.astype(np.float64) - driver.landmarks_px) * (LANDMARK_SCALE / size)
    return float(np.mean(np.linalg.norm(difference, axis=1)))
