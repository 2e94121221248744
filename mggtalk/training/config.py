"""Group `train` of params.yaml."""

from dataclasses import asdict
from typing import Any

from pydantic import Field

from mggtalk.models.config import ModelConfig
from mggtalk.params import config
from mggtalk.shards.corrupt_samples import OnCorruptSample


@config
class LossWeights:
    """Weights of the training loss; METHOD gives those of the paper: L1 1, SSIM 0.2, on both renders.

    Attributes:
        ssim: of 1 - SSIM beside an L1 of weight 1, on the head before and after densification and on the final image.
        mse: of the mean squared error, beside that L1.
        eyes_and_mouth: of the L1 around eyes and mouth alone: 1 in 20 pixels, where expressions show.
        alpha: L1 between rendered alpha and the target's head mask.
        landmarks: mean distance in cm between displaced source landmarks and the target's, both in head space.
        depth_offset: mean square of geometry refinement's offsets, cm^2, which keeps points without evidence in place.
        depth_offset_face: the same within the oval of the face, beside that: there landmarks know the depth.
        perceptual: distance of features on the same images as the SSIM; 0 needs no network, METHOD has 0.01.
        perceptual_network: a ResNet of transformers: a name in the registry, or the path of a folder.
    """

    ssim: float = Field(ge=0)
    mse: float = Field(ge=0)
    eyes_and_mouth: float = Field(ge=0)
    alpha: float = Field(ge=0)
    landmarks: float = Field(ge=0)
    depth_offset: float = Field(ge=0)
    depth_offset_face: float = Field(ge=0)
    perceptual: float = Field(ge=0)
    perceptual_network: str = Field(min_length=1)


@config
class AugmentConfig:
    """Variety that few people do not have; a pair's source and target are changed alike.

    Attributes:
        color: spread of gains, contrast, saturation and brightness; 0 changes none.
        mirror: half of the pairs become their mirror images. Needs coefficients that come in left and right.
        roll_deg, zoom, shift: spread of how the camera is turned about its axis, of the logarithm of its focal length,
            and of how far the crop is moved, as a share of its width; draws end at twice the spread.
    """

    color: float = Field(ge=0)
    mirror: bool = Field()
    roll_deg: float = Field(ge=0, le=45)
    zoom: float = Field(ge=0, le=0.5)
    shift: float = Field(ge=0, le=0.25)

    @property
    def moves_cameras(self) -> bool:
        """Whether cameras are moved at all."""
        return max(self.roll_deg, self.zoom, self.shift) > 0


@config
class TrainConfig:
    """Group `train` of params.yaml.

    Attributes:
        workers: processes of data-parallel training; the batch is shared out among them.
        batch_size: pairs per step over all workers. steps: of the whole run.
        track_pairs: pairs per step, over all workers, of which only the landmarks are used: they cost next to nothing.
        loader_workers: threads of each worker that decode ahead, one batch each; 0 decodes when a step asks.
        on_corrupt_sample: what a sample that is damaged or missing does: `stop` the run, or `skip` to the next
            pair. The tracks that the deformation starts from are read before the first step.
        coarse_fraction: the first so much of the steps renders parents only: depth, deformation and the two decoders
            learn before densification and inpainting.
        geometry_fraction: geometry refinement and deformation learn in the first so much of the steps and stay as
            they are from then on: they fit people long before the networks that colour do.
        ema_decay: of the running average of the weights, which is what is validated and kept; 0 keeps the last.
        warmup_steps: the learning rate rises over these, then falls as a half cosine to a hundredth.
        gradient_clip: largest norm of the gradient.
        compile: on CUDA, networks on pictures and their loss go through torch.compile. It takes a minute or more, and
            pays from some 7,000 steps on; on a CPU nothing is compiled. Either way it is part of the run's key.
        validate_every, checkpoint_every, log_every: in steps. validation_pairs: fixed pairs of the split `val`.
    """

    seed: int = Field(ge=0, lt=2**64)
    workers: int = Field(ge=1)
    steps: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    track_pairs: int = Field(ge=1)
    loader_workers: int = Field(ge=0)
    on_corrupt_sample: OnCorruptSample = Field()
    coarse_fraction: float = Field(ge=0, le=1)
    geometry_fraction: float = Field(gt=0, le=1)
    ema_decay: float = Field(ge=0, lt=1)
    learning_rate: float = Field(gt=0)
    warmup_steps: int = Field(ge=0)
    weight_decay: float = Field(ge=0)
    gradient_clip: float = Field(gt=0)
    compile: bool = Field()
    log_every: int = Field(ge=1)
    validate_every: int = Field(ge=1)
    validation_pairs: int = Field(ge=0)
    checkpoint_every: int = Field(ge=1)
    augment: AugmentConfig = Field()
    loss: LossWeights = Field()
    model: ModelConfig = Field()

    def __post_init__(self) -> None:
        """Check what must hold between the values.

        Raises:
            ValueError: the batch cannot be shared out evenly, or geometry stops while the learning rate still rises.
        """
        for name in ("batch_size", "track_pairs"):
            if getattr(self, name) % self.workers:
                raise ValueError(f"{name} {getattr(self, name)}: expected a multiple of workers {self.workers}")

        if self.geometry_fraction < 1 and self.geometry_steps <= self.warmup_steps:
            raise ValueError(
                f"geometry_fraction {self.geometry_fraction}: {self.geometry_steps} of {self.steps} steps, "
                f"expected more than the {self.warmup_steps} of warmup_steps"
            )

    @property
    def coarse_steps(self) -> int:
        """The number of steps that render parents only."""
        return round(self.coarse_fraction * self.steps)

    @property
    def geometry_steps(self) -> int:
        """The number of steps in which geometry refinement and deformation learn."""
        return max(round(self.geometry_fraction * self.steps), 1)

    def course(self) -> dict[str, Any]:
        """Return what the course of a run follows from: all but the numbers of processes and threads."""
        return {name: value for name, value in asdict(self).items() if name not in ("workers", "loader_workers")}
