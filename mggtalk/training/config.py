"""Group `train` of params.yaml."""

from mggtalk.models.config import ModelConfig
from mggtalk.params import config


@config
class LossWeights:
    """Weights of the training loss; METHOD gives those of the paper: L1 1, SSIM 0.2, on both renders.

    Attributes:
        ssim: of 1 - SSIM beside an L1 of weight 1, on the head before and after densification and on the final image.
        alpha: L1 between rendered alpha and the target's head mask.
        landmarks: mean distance in cm between displaced source landmarks and the target's, both in head space.
        depth_offset: mean square of geometry refinement's offsets, cm^2, which keeps points without evidence in place.
    """

    ssim: float
    alpha: float
    landmarks: float
    depth_offset: float


@config
class TrainConfig:
    """Group `train` of params.yaml.

    Attributes:
        workers: processes of data-parallel training; the batch is shared out among them.
        batch_size: pairs per step over all workers. steps: of the whole run.
        track_pairs: pairs per step, over all workers, of which only the landmarks are used: they cost next to nothing.
        warmup_steps: the learning rate rises over these, then falls as a half cosine to a hundredth.
        gradient_clip: largest norm of the gradient.
        validate_every, checkpoint_every, log_every: in steps. validation_pairs: fixed pairs of the split `val`.
    """

    seed: int
    workers: int
    steps: int
    batch_size: int
    track_pairs: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    gradient_clip: float
    log_every: int
    validate_every: int
    validation_pairs: int
    checkpoint_every: int
    loss: LossWeights
    model: ModelConfig

    def __post_init__(self) -> None:
        """Check what must hold between the values.

        Raises:
            ValueError: the batch cannot be shared out evenly, a count is not positive, or the seed is negative.
        """
        for name in (
            "workers",
            "steps",
            "batch_size",
            "track_pairs",
            "log_every",
            "validate_every",
            "checkpoint_every",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected 1 or more, got {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"seed: expected 0 or more, got {self.seed}")
        for name in ("batch_size", "track_pairs"):
            if getattr(self, name) % self.workers:
                raise ValueError(f"{name} {getattr(self, name)}: expected a multiple of workers {self.workers}")
