"""Scores one rendered image against the driver's by every metric of `METRICS`; NaN where one is undefined."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from mggtalk.evaluation import metrics
from mggtalk.evaluation.metrics import FrameScores
from mggtalk.evaluation.protocols import FaceMeasurer, IdentityEncoder
from mggtalk.perception.landmarks.face_measurement import FaceMeasurement
from mggtalk.records import HeadFrame

NAN = float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredImage:
    """An image with its measured face and identity; None where no face, or no identity encoder, was found."""

    image: UInt8[np.ndarray, "size size 3"]
    face: FaceMeasurement | None
    identity: Float[np.ndarray, " num_features"] | None


@dataclass(frozen=True, slots=True)
class Scorer:
    """Measures images and compares them."""

    measurer: FaceMeasurer
    identity_encoder: IdentityEncoder | None

    def measure(self, image: UInt8[np.ndarray, "size size 3"]) -> MeasuredImage:
        """Measure the face and the identity in `image`."""
        face = self.measurer.measure(image)
        encoder = self.identity_encoder
        identity = encoder.encode(image, face.landmarks_px) if encoder is not None and face is not None else None
        return MeasuredImage(image, face, identity)

    def score(
        self, result: MeasuredImage, truth: MeasuredImage, source: MeasuredImage, driver: HeadFrame
    ) -> FrameScores:
        """Score `result` against `truth`, the measured image of `driver`, and against the source."""
        aed = apd = akd = NAN
        if result.face is not None and truth.face is not None:
            aed = metrics.expression_distance(result.face, truth.face)
            apd = metrics.pose_distance(result.face, truth.face)
            akd = metrics.landmark_distance(result.face, truth.face, len(truth.image))
        head = driver.valid & driver.head_mask
        similarity = metrics.ssim_map(result.image, truth.image, driver.valid)
        return FrameScores(
            psnr=metrics.psnr(result.image, truth.image, driver.valid),
            psnr_head=metrics.psnr(result.image, truth.image, head),
            ssim=metrics.mean_over(similarity, driver.valid),
            ssim_head=metrics.mean_over(similarity, head),
            csim=_likeness(result, truth),
            csim_source=_likeness(result, source),
            aed=aed,
            apd=apd,
            akd=akd,
        )


def _likeness(first: MeasuredImage, second: MeasuredImage) -> float:
    if first.identity is None or second.identity is None:
        return NAN
    return metrics.cosine(first.identity, second.identity)
