"""Configuration of the stage `train`."""

from dataclasses import asdict
from typing import Any

from pydantic import Field

from mggtalk.config import config
from mggtalk.models.config import ModelConfig
from mggtalk.shards.corrupt_samples import OnCorruptSample


@config
class LossWeights:
    """Weights of the training loss; the paper has L1 1, SSIM 0.2 and perceptual 0.01, on both renders."""

    ssim: float = Field(0.2, ge=0)
    """1 - SSIM, beside an L1 of weight 1: on the head before and after densification, and on the final image."""
    mse: float = Field(0.0, ge=0)
    """Squared difference, beside that L1."""
    eyes_and_mouth: float = Field(0.3, ge=0)
    """L1 around eyes and mouth alone: 1 in 20 pixels, where expressions show."""
    alpha: float = Field(0.2, ge=0)
    """L1 between rendered alpha and the target's head mask."""
    landmarks: float = Field(0.5, ge=0)
    """Mean distance in cm between displaced source landmarks and the target's, in head space."""
    depth_offset: float = Field(0.01, ge=0)
    """Mean square of geometry refinement's offsets, cm^2: keeps points without evidence where they are."""
    depth_offset_face: float = Field(0.1, ge=0)
    """The same within the oval of the face, on top: landmarks know the depth there."""
    perceptual: float = Field(0.0, ge=0)
    """Distance of features, on the same images as the SSIM; 0 needs no network, the paper has 0.01."""
    perceptual_network: str = Field("resnet_18", min_length=1)
    """ResNet of transformers behind it: a name that `mggtalk models list` shows, or the path of a folder."""


@config
class AugmentConfig:
    """Variety that few people do not have; a pair's source and target are changed alike."""

    color: float = Field(0.1, ge=0)
    """Spread of gains, contrast, saturation and brightness; 0 changes none."""
    mirror: bool = True
    """Mirror half of the pairs; needs expression coefficients that come in left and right."""
    roll_deg: float = Field(0.0, ge=0, le=45)
    """Spread of the camera's turn about its axis in degrees, 0 to 45; draws end at twice the spread."""
    zoom: float = Field(0.0, ge=0, le=0.5)
    """Spread of the logarithm of the focal length, 0 to 0.5; draws end at twice the spread."""
    shift: float = Field(0.0, ge=0, le=0.25)
    """Spread of the crop's shift, as a fraction of its width, 0 to 0.25; draws end at twice the spread."""

    @property
    def moves_cameras(self) -> bool:
        """Whether cameras are moved at all."""
        return max(self.roll_deg, self.zoom, self.shift) > 0


@config
class TrainConfig:
    """Group `train` of the params file."""

    seed: int = Field(1, ge=0, lt=2**64)
    """Seed of all random numbers, 0 to 2^64 - 1."""
    workers: int = Field(1, ge=1)
    """Processes of data-parallel training; batches are split evenly among them."""
    steps: int = Field(400, ge=1)
    """Steps of the whole run."""
    batch_size: int = Field(2, ge=1)
    """Pairs per step over all workers; a multiple of `workers`."""
    track_pairs: int = Field(16, ge=1)
    """Further pairs per step over all workers, a multiple too, of which only landmarks are used: almost free."""
    loader_workers: int = Field(1, ge=0)
    """Threads of each worker that decode ahead, one batch each; 0 decodes when a step asks."""
    on_corrupt_sample: OnCorruptSample = OnCorruptSample.STOP
    """Response to a sample that is damaged or missing: `stop` the run, or `skip` to the next pair."""
    coarse_fraction: float = Field(0.1, ge=0, le=1)
    """Fraction of the steps, at the start, that render parents only, before densification and inpainting learn."""
    geometry_fraction: float = Field(1.0, gt=0, le=1)
    """Fraction of the steps, at the start, in which geometry refinement and deformation learn; then they stay."""
    ema_decay: float = Field(0.999, ge=0, lt=1)
    """Decay of the running average of the weights that is validated and kept; 0 keeps the last weights."""
    learning_rate: float = Field(2e-3, gt=0)
    """Highest learning rate."""
    warmup_steps: int = Field(20, ge=0)
    """Steps over which the learning rate rises; then it falls as a half cosine to a hundredth."""
    weight_decay: float = Field(1e-4, ge=0)
    """Weight decay of AdamW."""
    gradient_clip: float = Field(1.0, gt=0)
    """Largest norm of the gradient."""
    compile: bool = False
    """Send convolutions and image losses through torch.compile on CUDA; pays from some 7,000 steps on."""
    log_every: int = Field(25, ge=1)
    """Steps between two rows of the metrics."""
    validate_every: int = Field(200, ge=1)
    """Steps between two validations."""
    validation_pairs: int = Field(8, ge=0)
    """Fixed pairs of the split `val` that are validated."""
    checkpoint_every: int = Field(100, ge=1)
    """Steps between two checkpoints."""
    augment: AugmentConfig = AugmentConfig()
    """Random changes of the pairs."""
    loss: LossWeights = LossWeights()
    """Weights of the terms of the loss, from 0."""
    model: ModelConfig = ModelConfig()
    """Size and parts of the predictor."""

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
