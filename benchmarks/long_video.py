"""Measures the peak memory of the workers that track a long video: `python -m benchmarks.long_video CLIP --minutes 60`.

The long video repeats the packets of the clip. The stage's own module tracks it with `MGGTALK_WORKERS` workers; the
memory of each Ray worker and of its decoding process is sampled twice a second.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import av
import psutil
import yaml
from tqdm import tqdm

LIMIT_MB = 1200


def repeat(clip: Path, target: Path, minutes: float) -> None:
    """Write the video stream of `clip` over and over, without its audio."""
    with av.open(str(clip)) as source:
        stream = source.streams.video[0]
        packets = [
            (packet.dts, packet.pts, packet.duration, packet.is_keyframe, bytes(packet))
            for packet in source.demux(stream)
            if packet.size
        ]
        length = max(pts + duration for _, pts, duration, _, _ in packets) - min(pts for _, pts, _, _, _ in packets)
        assert stream.time_base is not None
        repeats = round(minutes * 60 / (length * stream.time_base))
        with av.open(str(target), "w") as sink:
            copy = sink.add_stream_from_template(stream)
            for number in tqdm(range(repeats), desc="writing", disable=None):
                for dts, pts, duration, is_keyframe, content in packets:
                    packet = av.Packet(content)
                    packet.stream, packet.time_base, packet.is_keyframe = copy, stream.time_base, is_keyframe
                    packet.dts, packet.pts, packet.duration = dts + number * length, pts + number * length, duration
                    sink.mux(packet)


def workers_of(driver: psutil.Process) -> dict[int, int]:
    """Return the bytes of each Ray worker with all its children, by process id; shared pages are divided (PSS)."""
    sizes = {}
    for process in driver.children(recursive=True):
        try:
            if process.name().startswith("ray::"):
                family = [process, *process.children(recursive=True)]
                sizes[process.pid] = sum(member.memory_full_info().pss for member in family)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return sizes


def run(folder: Path, params: Path, stage: str) -> Counter[int]:
    """Run a stage and return the peak memory of each of its workers."""
    command = [
        sys.executable,
        "-m",
        f"pipelines.{stage}",
        "--params",
        str(params),
        "--artifacts",
        str(folder / "artifacts"),
    ]
    peaks: Counter[int] = Counter()
    with subprocess.Popen(command) as process:
        driver = psutil.Process(process.pid)
        while process.poll() is None:
            for pid, size in workers_of(driver).items():
                if size > 1.05 * peaks[pid]:
                    print(f"worker {pid}: {size / 1e6:.0f} MB", file=sys.stderr, flush=True)
                peaks[pid] = max(peaks[pid], size)
            time.sleep(0.5)
        if process.returncode:
            raise SystemExit(process.returncode)
    return peaks


def main() -> None:
    """Print the peak of the largest worker of `track`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "videos").mkdir()
        repeat(args.clip, folder / "videos" / "long.mp4", args.minutes)
        (folder / "recipe.yaml").write_text("kind: folder\npath: videos\n", encoding="utf-8")
        values = yaml.safe_load(args.params.read_text(encoding="utf-8"))
        values["ingest"] |= {"recipe": str(folder / "recipe.yaml"), "watch": str(folder)}
        params = folder / "params.yaml"
        params.write_text(yaml.safe_dump(values), encoding="utf-8")
        run(folder, params, "ingest")
        begun = time.monotonic()
        peaks = run(folder, params, "track")
    largest = max(peaks.values()) / 1e6
    took = time.monotonic() - begun
    print(
        f"{args.minutes:g} minutes of {args.clip.name}: {len(peaks)} workers, the largest {largest:.0f} MB "
        f"({largest / LIMIT_MB:.2f} of {LIMIT_MB} MB), {took:.0f} s, cores {len(os.sched_getaffinity(0))}"
    )


if __name__ == "__main__":
    main()
