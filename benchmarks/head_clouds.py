"""Times surface reconstruction and the symmetric cloud: `python -m benchmarks.head_clouds [--device cuda]`.

Each time stands beside its floor: the bytes that the operations read and write, counted as they run, over the bandwidth
of a copy measured in the same run; and the bytes of inputs and results alone. On the CPU (one thread) the depth backend
`facemesh` is timed too.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mggtalk.geometry.head.landmark_sets import mediapipe_478
from mggtalk.geometry.head_cloud import symmetric_points
from mggtalk.geometry.normal_integration import integrate_normals
from mggtalk.geometry.normals import normals_from_depth
from mggtalk.perception.depth.head_geometry import FaceMeshGeometry, HeadViews
from mggtalk.perception.depth.mesh_depth import mean_head_depth

SIZE = 512
FOCAL = 4.0 * SIZE
DISTANCE_CM = 90.0
YAW = np.radians(30.0)
VOXEL_CM, STRIDE = 0.4, 2
FULL, TYPICAL = (0.49, 0.5), (0.33, 0.42)
"""Radii of masks of 200,000 pixels, and of the 43 % of the crop that the heads of real clips cover."""


class CountedBytes(TorchDispatchMode):
    """Counts the bytes that every operation reads and writes; views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and count its tensors."""
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            leaves = tree_leaves((args, kwargs or {}, result))
            self.total += sum(leaf.numel() * leaf.element_size() for leaf in leaves if isinstance(leaf, Tensor))
        return result


def head_views(batch: int, radii: tuple[float, float]) -> HeadViews:
    """Return turned heads whose mask is an ellipse.

    Args:
        radii: of the mask, across and down, over the side of the image.
    """
    turn = np.array([[np.cos(YAW), 0, np.sin(YAW)], [0, 1, 0], [-np.sin(YAW), 0, np.cos(YAW)]])
    pose = np.eye(4)
    pose[:3, :3] = np.diag([1.0, -1.0, -1.0]) @ turn
    pose[:3, 3] = (0, 2.0, DISTANCE_CM)
    intrinsics = np.array([[FOCAL, 0, SIZE / 2], [0, FOCAL, SIZE / 2], [0, 0, 1]])
    columns, rows = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    head = np.hypot((columns / SIZE - 0.5) / radii[0], (rows / SIZE - 0.5) / radii[1]) < 1
    landmarks = mediapipe_478().neutral
    return HeadViews(
        np.zeros((batch, SIZE, SIZE, 3), np.uint8),
        np.tile(head, (batch, 1, 1)),
        np.ones_like(head),
        np.tile(landmarks, (batch, 1, 1)),
        np.tile(pose, (batch, 1, 1)),
        intrinsics,
    )


def milliseconds(work: Callable[[], object], repeats: int, device: str) -> float:
    """Return the median time of `work` after three warm-up calls."""
    times = []
    for _ in range(repeats + 3):
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(1e3 * (time.perf_counter() - start))
    return median(times[3:])


def bandwidth(device: str) -> float:
    """Measure the bytes per millisecond of a copy; on the CPU, of a size that fits its caches, as maps do."""
    source = torch.rand(2**28 if device == "cuda" else 2**18, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() * 4 / milliseconds(lambda: target.copy_(source), 20, device)


def counted(work: Callable[[], object]) -> int:
    """Count the bytes that the operations of `work` move."""
    with CountedBytes() as counter:
        work()
    return counter.total


def report(name: str, work: Callable[[], object], batch: int, essential: int, device: str, repeats: int) -> float:
    """Print one line and return the milliseconds per frame."""
    speed = bandwidth(device)
    took = milliseconds(work, repeats, device) / batch
    floor, least = counted(work) / speed / batch, essential / speed / batch
    print(f"| {name} | {batch} | {took:.3f} | {floor:.3f} | {took / floor:.2f} | {least:.4f} |")
    return took


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=20)
    args = parser.parse_args()
    torch.set_num_threads(1)
    name = torch.cuda.get_device_name() if args.device == "cuda" else "one thread of the CPU"
    print(f"{name}, torch {torch.__version__}, {SIZE} x {SIZE}, copy {bandwidth(args.device) / 1e6:.1f} GB/s\n")
    print("| part | batch | ms a frame | floor: bytes moved | ratio | least: in and out |\n|---|---|---|---|---|---|")
    for batch in (1, 4, 16) if args.device == "cuda" else (1,):
        time_geometry(head_views(batch, FULL), args.device, args.repeats)
    if args.device == "cpu":
        views = head_views(1, TYPICAL)
        facemesh = FaceMeshGeometry(mediapipe_478())
        mesh = milliseconds(lambda: facemesh(views), args.repeats, "cpu")
        print(f"| facemesh, {views.head.sum()} pixels | 1 | {mesh:.3f} | | | |")
        total = mesh + sum(time_geometry(views, "cpu", args.repeats))
        print(
            f"\nfacemesh + surface + cloud, as in `shards`: {total:.1f} ms a source frame ({total / 150:.2f} of 150 ms)"
        )


def time_geometry(views: HeadViews, device: str, repeats: int) -> tuple[float, float]:
    """Print the lines of surface and cloud and return their milliseconds per frame."""
    batch = len(views)
    camera = torch.as_tensor(views.intrinsics, dtype=torch.float32).expand(batch, 3, 3).to(device)
    pose = torch.from_numpy(views.head_to_camera.astype(np.float32)).to(device)
    round_head = mean_head_depth(views.head_to_camera[0], views.intrinsics, views.head[0], ~views.valid)
    depth = torch.from_numpy(round_head.astype(np.float32)).expand(batch, -1, -1).contiguous().to(device)
    normals, _ = normals_from_depth(depth, camera)
    planes, empty = depth.numel() * 4, depth == 0
    label = f"surface, {int((depth[0] > 0).sum())} pixels"
    surface = report(label, lambda: integrate_normals(depth, normals, camera), batch, 5 * planes, device, repeats)
    stride = 1 if device == "cuda" else STRIDE
    points = symmetric_points(depth, normals, pose, camera, empty, stride, VOXEL_CM)
    moved = 4 * planes + 4 * 6 * len(points.batch_index) + 8 * len(points.mirror_index)
    label = f"cloud, {len(points.batch_index) // batch} points + {len(points.mirror_index) // batch} mirrored"
    cloud = report(
        label,
        lambda: symmetric_points(depth, normals, pose, camera, empty, stride, VOXEL_CM),
        batch,
        moved,
        device,
        repeats,
    )
    return surface, cloud


if __name__ == "__main__":
    main()
