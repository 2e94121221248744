"""Times the reader of video frames beside a bare decord loop: `python -m benchmarks.decode VIDEO ...`.

Without arguments it makes videos of 360p, 720p and 1080p from a test pattern with noise. All loops of a round run one
after the other on one thread, and the fastest of several rounds counts, which leaves out other work on the machine.
Times are processor time, summed over all threads of the process.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import cast

import av
import numpy as np
import psutil
from av.video.stream import VideoStream

from mggtalk.video.readers import PyAvReader

SIZES = ((640, 360), (1280, 720), (1920, 1080))


def test_pattern(path: Path, width: int, height: int, num_frames: int) -> Path:
    """Write a moving pattern with noise as H.264 at 25 frames a second, and return its path."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 40, (height + num_frames, width, 3), np.uint8)
    ramp = (np.arange(width) * 200 // width).astype(np.uint8)[None, :, None]
    with av.open(str(path), "w") as container:
        stream = cast(VideoStream, container.add_stream("libx264", rate=25, options={"crf": "23", "preset": "fast"}))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(num_frames):
            image = noise[number : number + height] + np.roll(ramp, 3 * number, axis=1)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def bare_decord(path: str) -> Iterator[object]:
    """Yield every frame as decord gives it."""
    import decord  # noqa: PLC0415  not on every platform

    video = decord.VideoReader(path, num_threads=1)
    for _ in range(len(video)):
        yield video.next().asnumpy()


def every_frame(reader: PyAvReader) -> Iterator[object]:
    """Yield every frame of a reader."""
    return reader.frames(range(len(reader.presentation_s)))


LOOPS: dict[str, Callable[[str], Iterator[object]]] = {
    "bare decord": bare_decord,
    "ours": lambda path: every_frame(PyAvReader(path)),
}


def frames_per_s(loop: Callable[[str], Iterator[object]], path: str, num_frames: int) -> float:
    """Return frames per second of processor time, opening included."""
    start = time.process_time()
    count = sum(1 for _ in islice(loop(path), num_frames))
    return count / (time.process_time() - start)


def late_start_ms(reader: PyAvReader) -> float:
    """Return the milliseconds (of the clock) to a frame three quarters into the video."""
    start = time.perf_counter()
    next(reader.frames([len(reader.presentation_s) * 3 // 4]))
    return 1e3 * (time.perf_counter() - start)


def report(path: str, num_frames: int, rounds: int) -> None:
    """Print one video's figures."""
    best = dict.fromkeys(LOOPS, 0.0)
    for _ in range(rounds):
        for name, loop in LOOPS.items():
            best[name] = max(best[name], frames_per_s(loop, path, num_frames))
    reader = PyAvReader(path)
    print(f"{Path(path).name}, {reader.width}x{reader.height}:")
    for name, speed in best.items():
        print(f"  {name:12} {speed:7.0f} frames/s  {speed / best['bare decord']:.2f} of bare decord")
    resident_mib = psutil.Process().memory_info().rss >> 20
    print(f"  first frame at three quarters: {late_start_ms(reader):.0f} ms; {resident_mib} MiB resident in all")


def main() -> None:
    """Print the figures of every video."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", nargs="*")
    parser.add_argument("--frames", type=int, default=200, help="of each video at most")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = (str(test_pattern(Path(folder, f"{size[1]}p.mp4"), *size, options.frames)) for size in SIZES)
        for path in options.videos or made:
            report(path, options.frames, options.rounds)


if __name__ == "__main__":
    main()
