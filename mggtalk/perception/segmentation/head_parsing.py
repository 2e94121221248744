"""Head parsing: finds the pixels of the tracked person's head. The protocol of backends, and two of them."""

from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional

from mggtalk.geometry.head.landmark_sets import LandmarkSet
from mggtalk.perception.network_images import Preprocessing
from mggtalk.perception.networks import default_device, in_batches, load_network
from mggtalk.perception.segmentation.head_labels import head_classes
from mggtalk.perception.segmentation.head_mask import face_silhouette, head_mask
from mggtalk.perception.segmentation.person_segmenter import PersonSegmenter

# A strip of another person's hair may cross the face, but a part of the face cut off by a hand is larger. Our choice.
_MIN_FACE_FRACTION = 0.05


class HeadParser(Protocol):
    """Segments the head of the tracked person: hair, ears, hat, glasses in; neck and shoulders out."""

    name: str

    def __call__(
        self,
        images: UInt8[np.ndarray, "num_frames size size 3"],
        landmarks_px: Float[np.ndarray, "num_frames num_landmarks 2"],
        up: Float[np.ndarray, "num_frames 2"],
    ) -> Bool[np.ndarray, "num_frames size size"]:
        """Return the head's pixels of every image.

        Args:
            images: RGB. landmarks_px: pixels of the images.
            up: direction of the head's crown in the image; its length does not matter.
        """
        ...


class SelfieParser:
    """Backend `selfie`: MediaPipe's person mask, cut at the jaw by the landmarks; see `head_mask`.

    Args:
        model_path: the verified `selfie_segmentation.tflite`.
    """

    name = "selfie"

    def __init__(self, model_path: Path, landmarks: LandmarkSet) -> None:
        self._segmenter = PersonSegmenter(model_path)
        self._landmarks = landmarks

    def __call__(
        self,
        images: UInt8[np.ndarray, "num_frames size size 3"],
        landmarks_px: Float[np.ndarray, "num_frames num_landmarks 2"],
        up: Float[np.ndarray, "num_frames 2"],
    ) -> Bool[np.ndarray, "num_frames size size"]:
        """Return the head's pixels of every image; see `HeadParser`."""
        return np.stack(
            [
                head_mask(self._segmenter.segment(image), points, direction, self._landmarks)
                for image, points, direction in zip(
                    images, landmarks_px.astype(np.float64), up.astype(np.float64), strict=True
                )
            ]
        )


class SegformerParser:
    """Backend `segformer`: a SegFormer of transformers that was trained to parse faces.

    Args:
        folder: of the verified model: `config.json`, `model.safetensors`, `preprocessor_config.json`.
        device: `cpu` or `cuda`; default: `cuda` where there is one.

    Raises:
        WeightsError: transformers is not installed, the folder holds no such network, or its labels are unknown.

    Source: Xie et al., SegFormer, NeurIPS 2021.
    """

    name = "segformer"

    def __init__(self, folder: Path, landmarks: LandmarkSet, device: str | None = None) -> None:
        self._device = device or default_device()
        self._prepare = Preprocessing.read(folder / "preprocessor_config.json")
        self._network = load_network("SegformerForSemanticSegmentation", "segformer", folder, self._device)
        self._classes = head_classes(self._network.config.id2label, folder)
        self._landmarks = landmarks

    def __call__(
        self,
        images: UInt8[np.ndarray, "num_frames size size 3"],
        landmarks_px: Float[np.ndarray, "num_frames num_landmarks 2"],
        up: Float[np.ndarray, "num_frames 2"],  # noqa: ARG002  the network handles tilted heads by itself
    ) -> Bool[np.ndarray, "num_frames size size"]:
        """Return the head's pixels of every image; see `HeadParser`."""
        size = images.shape[1:3]
        probability = torch.cat(
            [
                functional.interpolate(head[:, None], size, mode="bilinear")[:, 0].cpu()
                for head in in_batches(self._head, self._prepare, images, self._device)
            ]
        ).numpy()
        return np.stack(
            [
                tracked_head(head > 0.5, face_silhouette(points, self._landmarks, *size) > 0)
                for head, points in zip(probability, landmarks_px.astype(np.float64), strict=True)
            ]
        )

    def _head(self, pixels: Tensor) -> Tensor:
        return head_probability(self._network(pixels).logits, self._classes)


def head_probability(
    logits: Float[Tensor, "batch num_classes height width"], classes: tuple[int, ...]
) -> Float[Tensor, "batch height width"]:
    """Return the probability that a pixel shows one of the classes."""
    return logits.float().softmax(dim=1)[:, list(classes)].sum(dim=1)


def tracked_head(
    heads: Bool[np.ndarray, "height width"], face: Bool[np.ndarray, "height width"]
) -> Bool[np.ndarray, "height width"]:
    """Return the connected components of all heads in the image that the tracked face overlaps.

    An object in front of a face may cut it into parts; every part with at least `_MIN_FACE_FRACTION` of it is kept.

    Args:
        face: silhouette of the landmarks' surface.
    """
    _, components = cv2.connectedComponents(heads.astype(np.uint8), connectivity=4)
    labels, counts = np.unique(components[face & heads], return_counts=True)
    return np.asarray(np.isin(components, labels[counts >= _MIN_FACE_FRACTION * counts.sum()]))
