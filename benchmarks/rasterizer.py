"""Times the rasterisers on a head of small Gaussians: `python -m benchmarks.rasterizer`.

The limit, measured in the same run, is the least work of any such rasteriser: one exp and one multiplication for every
(Gaussian, pixel) pair with an alpha of at least 1/255, as bare elementwise torch. On CUDA gsplat is timed too.
"""

import argparse
import math
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from mggtalk.rendering import Backend, Gaussians, rasterize
from mggtalk.rendering.projection import MIN_ALPHA, project

DISTANCE_CM = 50.0


def head_scene(batch: int, num_gaussians: int, size: int, device: str) -> tuple[Gaussians, Tensor, Tensor]:
    """Return Gaussians of 0.5 to 1.5 px before the camera that fill the middle 80 % of a square image."""
    generator = torch.Generator().manual_seed(0)
    focal = 2.0 * size
    pixel_cm = DISTANCE_CM / focal
    uniform = torch.rand(batch, num_gaussians, 11, generator=generator)
    spread = torch.tensor([0.8 * size * pixel_cm, 0.8 * size * pixel_cm, 10.0])
    gaussians = Gaussians(
        means=(uniform[..., 0:3] - 0.5) * spread,
        rotations=torch.nn.functional.normalize(torch.randn(batch, num_gaussians, 4, generator=generator), dim=-1),
        scales=(0.5 + uniform[..., 3:6]) * pixel_cm,
        opacities=0.5 + 0.5 * uniform[..., 6],
        colors=uniform[..., 7:10],
    )
    world_to_camera = torch.eye(4).repeat(batch, 1, 1)
    world_to_camera[:, 2, 3] = DISTANCE_CM
    intrinsics = torch.tensor([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]]).repeat(batch, 1, 1)
    return gaussians.to(device), world_to_camera.to(device), intrinsics.to(device)


def count_pairs(gaussians: Gaussians, world_to_camera: Tensor, intrinsics: Tensor, size: int) -> int:
    """Count the (Gaussian, pixel) pairs with an alpha of at least 1/255: the area of all ellipses in px^2."""
    screen = project(gaussians, world_to_camera, intrinsics, (size, size), (1.0, 1e10))
    area = math.pi * 2 * (gaussians.opacities / MIN_ALPHA).log() * (screen.variance_x * screen.variance_y).sqrt()
    return round(float(area[screen.visible].sum()))


def milliseconds(work: Callable[[], object], repeats: int, device: str) -> float:
    """Return the median time of `work` after two warm-up calls."""
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(1e3 * (time.perf_counter() - start))
    return median(times[2:])


def exp_and_multiply_ms(num_values: int, repeats: int, device: str) -> float:
    """Return the time of one exp and one multiplication of `num_values` values, in milliseconds."""
    values = torch.rand(num_values, device=device)
    return milliseconds(lambda: values.exp().mul_(values), repeats, device)


def time_backend(backend: Backend, scene: tuple[Gaussians, Tensor, Tensor], size: int, repeats: int) -> list[float]:
    """Return the milliseconds of forward alone and of forward with backward."""
    gaussians, world_to_camera, intrinsics = scene
    device = gaussians.means.device.type
    leaves = (gaussians.means, gaussians.rotations, gaussians.scales, gaussians.opacities, gaussians.colors)

    def forward() -> Tensor:
        rendering = rasterize(gaussians, world_to_camera, intrinsics, size, size, backend=backend)
        return rendering.color.mean() + rendering.alpha.mean() + 0.01 * rendering.depth.mean()

    alone = milliseconds(forward, repeats, device)
    for leaf in leaves:
        leaf.requires_grad_()
    both = milliseconds(lambda: torch.autograd.grad(forward(), leaves), repeats, device)
    for leaf in leaves:
        leaf.requires_grad = False
    return [alone, both]


def main() -> None:
    """Print one line for each backend that runs here."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--num-gaussians", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=30)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    for device in devices:
        scene = head_scene(args.batch, args.num_gaussians, args.size, device)
        pairs = count_pairs(*scene, args.size)
        limit = exp_and_multiply_ms(pairs, args.repeats, device)
        name = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {args.threads} thread(s)"
        print(f"{name}: {args.batch} x {args.num_gaussians} Gaussians, {args.size} px, {pairs} pairs; ", end="")
        print(f"limit (exp and multiply) {limit:.3f} ms")
        backends: list[Backend] = ["reference"] if device == "cpu" else ["reference", "gsplat"]
        for backend in backends:
            forward, both = time_backend(backend, scene, args.size, args.repeats)
            print(f"  {backend:9}  forward {forward:8.2f} ms ({forward / limit:5.1f} x limit)", end="")
            print(f"  forward + backward {both:8.2f} ms ({both / limit:5.1f} x limit)")


if __name__ == "__main__":
    main()
