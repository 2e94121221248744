"""Times the predictor at 512 pixels: `python -m benchmarks.predictor [--device cuda] [--size 512]`.

A photo becomes Gaussians (reconstruct), and these become pictures: animate, render and inpaint, each alone and all
of it as users get it, at batch 1 and 8. Beside each part stands its floor: the bytes that its operations read and
write, counted as they run, over the bandwidth of a copy measured in the same run, or its multiplications over the rate
of a large matrix product, whichever is longer. gsplat's own kernels count each Gaussian and each pixel once.
Then one training step at 256 pixels, split by part.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.head_clouds import bandwidth, counted, milliseconds
from mggtalk.models.animator import Animator
from mggtalk.models.batches import DriverBatch, SourceBatch, TargetBatch, TrackBatch, collate_drivers, collate_sources
from mggtalk.models.config import ModelConfig
from mggtalk.models.predictor import TalkingHeadPredictor
from mggtalk.params import load_group
from mggtalk.rendering.gaussians import Gaussians
from mggtalk.training.config import TrainConfig
from mggtalk.training.losses import TrainingStep
from tests.synthetic_head import make_head, source_frame

PARAMS = Path("docs/params-256px.yaml")
REPEATS = 30


def model_at(size: int) -> ModelConfig:
    """Return the model of the documented 256-pixel run, at another size."""
    return load_group(PARAMS, "train", TrainConfig).model.__class__(
        **{**load_group(PARAMS, "train", TrainConfig).model.__dict__, "resolution": size}
    )


def heads(batch: int, size: int, device: str) -> tuple[SourceBatch, DriverBatch]:
    """Return heads that fill half of their pictures, with noise for expressions, and drivers turned from them."""
    frames = [source_frame(make_head(number), size, 10.0) for number in range(batch)]
    turned = [source_frame(make_head(number), size, -10.0).frame for number in range(batch)]
    generator = torch.Generator().manual_seed(0)
    source, driver = collate_sources(frames), collate_drivers(turned)
    faces = torch.rand(2, batch, 52, generator=generator)
    placed = (
        SourceBatch(**{**_fields(source), "expression": faces[0]}),
        DriverBatch(**{**_fields(driver), "expression": faces[1]}),
    )
    return placed[0].to(device), placed[1].to(device)


def _fields(batch: SourceBatch | DriverBatch) -> dict[str, Tensor]:
    return {name: getattr(batch, name) for name in batch.__slots__}


def matrix_rate(device: str) -> float:
    """Return the operations a millisecond of a large product in the networks' precision."""
    side = 8192 if device == "cuda" else 1024
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    first = torch.rand(side, side, device=device, dtype=dtype)
    return 2 * side**3 / milliseconds(lambda: first @ first, 10, device)


def floor(work: Callable[[], object], extra_bytes: int, speed: float, rate: float) -> float:
    """Return the least milliseconds of `work`."""
    with FlopCounterMode(display=False) as flops:
        work()
    return max((counted(work) + extra_bytes) / speed, flops.get_total_flops() / rate)


def rendered_bytes(gaussians: Gaussians, size: int) -> int:
    """Return what a rasteriser must read and write: each Gaussian and each pixel once."""
    batch, count, channels = gaussians.colors.shape
    return 4 * batch * (count * (11 + channels) + size * size * (channels + 1))


@torch.no_grad()
def report_inference(size: int, device: str) -> None:
    """Print the table of inference."""
    speed, rate = bandwidth(device), matrix_rate(device)
    predictor = TalkingHeadPredictor(model_at(size)).to(device).eval()
    print(f"copy {speed / 1e6:.0f} GB/s, products {rate / 1e9:.0f} TFLOP/s, {size} px")
    print("| part | batch | Gaussians a head | ms | ms a frame | frames/s | floor, ms | times the floor |")
    print("|---|---|---|---|---|---|---|---|")
    for batch in (1, 8):
        source, driver = heads(batch, size, device)
        avatar = predictor.reconstruct(source)
        animator = Animator(predictor, avatar)
        gaussians = predictor.animate(avatar, driver.expression).children
        rendered, alpha = predictor.render(gaussians, driver)
        parts: dict[str, tuple[Callable[[], object], Callable[[], object], int]] = {}
        drawn = rendered_bytes(gaussians, size)

        def reconstruct(source: SourceBatch = source) -> object:
            return predictor.reconstruct(source)

        def animate(avatar: object = avatar, driver: DriverBatch = driver) -> object:
            return predictor.animate(avatar, driver.expression)  # type: ignore[arg-type]

        def inpaint(avatar: object = avatar, rendered: Tensor = rendered, alpha: Tensor = alpha) -> object:
            return predictor.inpaint(avatar, rendered, alpha, driver.expression)  # type: ignore[arg-type]  # noqa: B023

        def render(gaussians: Gaussians = gaussians, driver: DriverBatch = driver) -> object:
            return predictor.render(gaussians, driver)

        parts["reconstruct"] = reconstruct, reconstruct, 0
        parts["animate, launched"] = animate, animate, 0
        parts["render"] = render, lambda: None, drawn
        parts["inpaint, launched"] = inpaint, inpaint, 0
        floors = {name: floor(work, extra, speed, rate) for name, (_, work, extra) in parts.items()}
        whole = sum(value for name, value in floors.items() if name != "reconstruct")
        timed = {name: milliseconds(work, REPEATS, device) for name, (work, _, _) in parts.items()}
        timed["animate + render + inpaint"] = milliseconds(lambda: animator(driver), REPEATS, device)  # noqa: B023
        floors["animate + render + inpaint"] = whole
        count = gaussians.opacities.count_nonzero().item() // batch
        for name, took in timed.items():
            print(
                f"| {name} | {batch} | {count} | {took:.2f} | {took / batch:.2f} | {1e3 * batch / took:.0f} | "
                f"{floors[name]:.3f} | {took / floors[name]:.1f} |"
            )


def training_batch(batch: int, size: int, device: str) -> tuple[SourceBatch, DriverBatch, TargetBatch, TrackBatch]:
    """Return what a step gets."""
    source, driver = heads(batch, size, device)
    target = TargetBatch(source.image.roll(3, -1), source.head_mask, source.valid)
    landmarks = source.landmarks.repeat(64 // batch, 1, 1)
    faces = torch.rand(2, len(landmarks), 52, device=device)
    return source, driver, target, TrackBatch(landmarks, landmarks + 0.1, faces[0], faces[1])


def report_training(size: int, batch: int, device: str) -> None:
    """Print where the time of a step goes, each part waited for; the last line is the step as it runs."""
    settings = load_group(PARAMS, "train", TrainConfig)
    step = TrainingStep(TalkingHeadPredictor(model_at(size)), settings.loss).to(device)
    optimizer = torch.optim.AdamW(step.parameters(), lr=1e-4, fused=True)
    source, driver, target, tracks = training_batch(batch, size, device)
    model = step.predictor
    avatar = model.reconstruct(source)
    driven = model.animate(avatar, driver.expression)
    rendered, alpha = model.render(driven.children, driver)

    def learn() -> None:
        optimizer.zero_grad(set_to_none=True)
        step(source, driver, target, tracks)["total"].backward()
        torch.nn.utils.clip_grad_norm_(step.parameters(), 1.0)
        optimizer.step()

    def with_gradient(work: Callable[[], Tensor]) -> Callable[[], None]:
        return lambda: work().backward(retain_graph=False)

    still = Gaussians(*(getattr(driven.children, name).detach().requires_grad_() for name in Gaussians.__slots__))
    picture = rendered.detach().requires_grad_()

    def rendering() -> Tensor:
        return model.render(still, driver)[0].sum()

    def inpainting() -> Tensor:
        detached = _detached(avatar)
        return model.inpaint(detached, picture, alpha.detach(), driver.expression).sum()

    def losses() -> Tensor:
        from mggtalk.training.losses import photometric  # noqa: PLC0415

        image = picture[:, :3]
        return torch.stack([photometric(image, target.image, target.valid, 0.2) for _ in range(3)]).sum()

    parts: Iterator[tuple[str, Callable[[], object]]] = iter(
        (
            ("reconstruct + animate", with_gradient(lambda: _gaussian_sum(model, source, driver))),
            ("render children", with_gradient(rendering)),
            ("inpaint", with_gradient(inpainting)),
            ("three photometric losses", with_gradient(losses)),
            ("landmarks", with_gradient(lambda: step._landmark_distance(tracks))),  # noqa: SLF001
            ("whole step", learn),
        )
    )
    print(f"\ntraining, {size} px, batch {batch}, forward and backward")
    print("| part | ms | pairs/s |\n|---|---|---|")
    for name, work in parts:
        took = milliseconds(work, REPEATS, device)
        print(f"| {name} | {took:.1f} | {1e3 * batch / took:.0f} |")


def _detached(avatar: object) -> object:
    return avatar


def _gaussian_sum(model: TalkingHeadPredictor, source: SourceBatch, driver: DriverBatch) -> Tensor:
    driven = model.animate(model.reconstruct(source), driver.expression)
    return torch.stack([getattr(driven.children, name).sum() for name in Gaussians.__slots__]).sum()


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--train-batch", type=int, default=16)
    options = parser.parse_args()
    report_inference(options.size, options.device)
    report_training(256, options.train_batch, options.device)


if __name__ == "__main__":
    main()
