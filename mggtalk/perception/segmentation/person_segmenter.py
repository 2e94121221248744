"""Segments the person in an image with MediaPipe's selfie segmentation model."""

import weakref
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from mggtalk.perception.mediapipe_image import mediapipe_image


class PersonSegmenter:
    """Separates person from background, each image by itself.

    Args:
        model_path: the verified `selfie_segmentation.tflite`.
    """

    def __init__(self, model_path: Path) -> None:
        from mediapipe.tasks.python import BaseOptions, vision  # noqa: PLC0415  loads for a second

        self._segmenter = vision.ImageSegmenter.create_from_options(
            vision.ImageSegmenterOptions(
                base_options=BaseOptions(model_asset_buffer=model_path.read_bytes()),
                running_mode=vision.RunningMode.IMAGE,
                output_confidence_masks=True,
                output_category_mask=False,
            )
        )
        # MediaPipe's own destructor fails when it runs after the interpreter has begun to shut down.
        weakref.finalize(self, self._segmenter.close)

    def segment(self, image: UInt8[np.ndarray, "height width 3"]) -> Float32[np.ndarray, "height width"]:
        """Return the probability that each pixel of `image` (RGB) shows a person."""
        frame = mediapipe_image(image)
        masks = self._segmenter.segment(frame).confidence_masks
        return np.array(masks[0].numpy_view(), dtype=np.float32).reshape(image.shape[:2])
