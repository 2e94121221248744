"""Times the predictor at 512 pixels: `python -m benchmarks.predictor [--device cuda] [--size 512]`.

It reconstructs Gaussians from a photo, then animates, renders and inpaints them, each step alone and all together, at
batch 1 and 8. Beside each part stands its floor: the bytes that its operations read and write, counted as they run,
over the bandwidth of a copy measured in the same run, or its multiplications over the rate of a large matrix product,
whichever is longer. gsplat's kernels count each Gaussian and each pixel once. A second table splits one training step
at 256 pixels by part.
"""

import argparse
import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.head_clouds import bandwidth, counted, milliseconds
from mggtalk.geometry.cameras import project, transform_points
from mggtalk.models.animator import Animator
from mggtalk.models.batches import DriverBatch, SourceBatch, TargetBatch, TrackBatch, collate_drivers, collate_sources
from mggtalk.models.config import ModelConfig
from mggtalk.models.predictor import Avatar, TalkingHeadPredictor
from mggtalk.params import load_group
from mggtalk.rendering.gaussians import Gaussians
from mggtalk.training.config import TrainConfig
from mggtalk.training.losses.training_loss import TrainingStep, photometric
from tests.support.synthetic_head import make_head, source_frame

PARAMS = Path(__file__).parents[1] / "configs" / "256px.yaml"
REPEATS = 30
CLOSE = 1.3
"""Enlargement with which synthetic heads have over 100,000 Gaussians at 512 px, as real close-ups do."""
WHOLE = "animate + render + inpaint"


class Part(NamedTuple):
    """A timed part; its floor is counted over `counts`, plus `extra_bytes` that no operation shows."""

    name: str
    work: Callable[[], object]
    counts: Callable[[], object]
    extra_bytes: int = 0


def settings() -> TrainConfig:
    """Return the parameters of the documented 256-pixel run."""
    return load_group(PARAMS, "train", TrainConfig)


def model_at(size: int) -> ModelConfig:
    """Return the model of that run at another size."""
    return dataclasses.replace(settings().model, resolution=size)


def heads(batch: int, size: int, device: str) -> tuple[SourceBatch, DriverBatch]:
    """Return synthetic heads that fill the image, with random expressions, and drivers turned from them."""
    plain = [make_head(number) for number in range(batch)]
    close = [dataclasses.replace(head, radii=tuple(CLOSE * radius for radius in head.radii)) for head in plain]
    frames = [source_frame(head, size, 10.0) for head in close]
    turned = [source_frame(head, size, -10.0).frame for head in close]
    faces = torch.rand(2, batch, settings().model.expression_size, generator=torch.Generator().manual_seed(0))
    source = dataclasses.replace(collate_sources(frames), expression=faces[0])
    return source.to(device), dataclasses.replace(collate_drivers(turned), expression=faces[1]).to(device)


def make_gaussians(predictor: TalkingHeadPredictor, avatar: Avatar, driver: DriverBatch) -> Gaussians:
    """Return the Gaussians of the heads under their drivers' expressions."""
    return predictor.densify(avatar, predictor.animate(avatar, driver.expression))


def inpainted(
    predictor: TalkingHeadPredictor, avatar: Avatar, driver: DriverBatch, rendered: Tensor, alpha: Tensor
) -> Tensor:
    """Return the final images of what was rendered."""
    return predictor.inpaint(
        avatar, rendered, alpha, predictor.render_condition_masks(avatar, driver), driver.expression
    )


def matrix_rate(device: str) -> float:
    """Measure the operations per millisecond of a large matrix product in the networks' precision."""
    side, dtype = (8192, torch.bfloat16) if device == "cuda" else (1024, torch.float32)
    first = torch.rand(side, side, device=device, dtype=dtype)
    return 2 * side**3 / milliseconds(lambda: first @ first, 10, device)


def floor(part: Part, speed: float, rate: float) -> float:
    """Return the lower bound of a part's time in milliseconds."""
    with FlopCounterMode(display=False) as flops:
        part.counts()
    return max((counted(part.counts) + part.extra_bytes) / speed, flops.get_total_flops() / rate)


def rendered_bytes(gaussians: Gaussians, size: int) -> int:
    """Return the bytes that a rasteriser must read and write: each Gaussian and each pixel once."""
    batch, count, channels = gaussians.colors.shape
    return 4 * batch * (count * (11 + channels) + size * size * (channels + 1))


@torch.no_grad()
def report_inference(size: int, device: str) -> None:
    """Print the table of inference."""
    speed, rate = bandwidth(device), matrix_rate(device)
    predictor = TalkingHeadPredictor(model_at(size)).for_inference(device)
    print(f"copy {speed / 1e6:.0f} GB/s, products {rate / 1e9:.2f} TFLOP/s, {size} px")
    print("| part | batch | Gaussians a head | ms | ms a frame | frames/s | floor, ms | times the floor |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for batch in (1, 8):
        source, driver = heads(batch, size, device)
        avatar = predictor.reconstruct(source)
        gaussians = make_gaussians(predictor, avatar, driver)
        rendered, alpha = predictor.render(gaussians, driver)
        count = int(gaussians.opacities.count_nonzero()) // batch
        reconstruct = partial(predictor.reconstruct, source)
        animate = partial(make_gaussians, predictor, avatar, driver)
        inpaint = partial(inpainted, predictor, avatar, driver, rendered, alpha)
        render = partial(predictor.render, gaussians, driver)
        driving = [
            Part("animate, launched", animate, animate),
            Part("render", render, int, rendered_bytes(gaussians, size)),
            Part("inpaint, launched", inpaint, inpaint),
        ]
        whole = sum(floor(part, speed, rate) for part in driving)
        for part in [Part("reconstruct", reconstruct, reconstruct), *driving]:
            print_row(part, batch, count, floor(part, speed, rate), device)
        print_row(Part(WHOLE, partial(Animator(predictor, avatar), driver), int), batch, count, whole, device)


def print_row(part: Part, batch: int, count: int, least: float, device: str) -> None:
    """Time a part and print its line."""
    took = milliseconds(part.work, REPEATS, device)
    pace = f"{took:.2f} | {took / batch:.2f} | {1e3 * batch / took:.0f}"
    print(f"| {part.name} | {batch} | {count} | {pace} | {least:.3f} | {took / least:.1f} |", flush=True)


def training_batch(batch: int, size: int, device: str) -> tuple[SourceBatch, DriverBatch, TargetBatch, TrackBatch]:
    """Return the inputs of a training step."""
    source, driver = heads(batch, size, device)
    landmarks_px = project(transform_points(source.head_to_camera, source.landmarks), source.intrinsics)
    target = TargetBatch(source.image.roll(3, -1), source.head_mask, source.valid, landmarks_px)
    landmarks = source.landmarks.repeat(max(settings().track_pairs // batch, 1), 1, 1)
    faces = torch.rand(2, len(landmarks), source.expression.shape[1], device=device)
    return source, driver, target, TrackBatch(landmarks, landmarks + 0.1, faces[0], faces[1])


def report_training(size: int, batch: int, device: str) -> None:
    """Print the time of each part of a step, synchronised after each; the last line is the whole step."""
    step = TrainingStep(TalkingHeadPredictor(model_at(size)), settings().loss).to(device)
    optimizer = torch.optim.AdamW(step.parameters(), lr=1e-4, fused=True)
    source, driver, target, tracks = training_batch(batch, size, device)
    model, names = step.predictor, Gaussians.__slots__
    with torch.no_grad():
        avatar = model.reconstruct(source)
        children = make_gaussians(model, avatar, driver)
        rendered, alpha = model.render(children, driver)
    children = Gaussians(*(getattr(children, name).requires_grad_() for name in names))
    image = rendered.requires_grad_()

    def reconstruct_and_animate() -> Tensor:
        made = make_gaussians(model, model.reconstruct(source), driver)
        return torch.stack([getattr(made, name).sum() for name in names]).sum()

    def compare() -> Tensor:
        planes = (torch.cat([plane] * 3) for plane in (image[:, :3], target.image, target.valid))
        return photometric(*planes, settings().loss.ssim, settings().loss.mse).mean()

    def learn() -> None:
        optimizer.zero_grad(set_to_none=True)
        step(source, driver, target, tracks)["total"].backward()
        torch.nn.utils.clip_grad_norm_(step.parameters(), 1.0)
        optimizer.step()

    parts: dict[str, Callable[[], object]] = {
        "reconstruct + animate": lambda: reconstruct_and_animate().backward(),
        "render the children": lambda: model.render(children, driver)[0].sum().backward(),
        "inpaint": lambda: inpainted(model, avatar, driver, image, alpha).sum().backward(),
        "L1 + SSIM, three images": lambda: compare().backward(),
        "landmarks": lambda: step.landmark_distance(tracks).backward(),
        "whole step": learn,
    }
    print(f"\ntraining, {size} px, batch {batch}, forward and backward")
    print("| part | ms | pairs/s |\n|---|---|---|", flush=True)
    for name, work in parts.items():
        took = milliseconds(work, REPEATS, device)
        print(f"| {name} | {took:.1f} | {1e3 * batch / took:.0f} |", flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--train-size", type=int, default=256)
    parser.add_argument("--train-batch", type=int, default=16)
    options = parser.parse_args()
    report_inference(options.size, options.device)
    report_training(options.train_size, options.train_batch, options.device)


if __name__ == "__main__":
    main()
