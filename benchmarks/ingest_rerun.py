"""Times `ingest` on many small videos, twice: `python -m benchmarks.ingest_rerun`. The second run has nothing to do.

The videos are generated: one second of plain colour each, 64 x 64 pixels, no two with the same bytes.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np
import yaml


def write_videos(folder: Path, count: int) -> None:
    """Write videos that differ in trailing bytes only, which no player reads."""
    folder.mkdir()
    first = folder / "0.mp4"
    with av.open(str(first), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(25):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), 127, np.uint8))))
        container.mux(stream.encode(None))
    content = first.read_bytes()
    for number in range(1, count):
        (folder / f"{number}.mp4").write_bytes(content + number.to_bytes(8, "big"))


def run_ingest(folder: Path) -> float:
    """Run the stage in its own process, and return its seconds, including the start of Python and Ray."""
    command = [sys.executable, "-m", "pipelines.ingest", "--params", str(folder / "params.yaml")]
    started_s = time.perf_counter()
    subprocess.run([*command, "--artifacts", str(folder / "artifacts")], check=True)
    return time.perf_counter() - started_s


def main() -> None:
    """Print the seconds of both runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_videos(folder / "videos", options.files)
        (folder / "recipe.yaml").write_text("kind: folder\npath: videos\n", encoding="utf-8")
        group = {"recipe": str(folder / "recipe.yaml"), "watch": name, "val_fraction": 0.1, "test_fraction": 0.1}
        (folder / "params.yaml").write_text(yaml.safe_dump({"ingest": group}), encoding="utf-8")
        print(f"{options.files} files: first run {run_ingest(folder):.1f} s, second run {run_ingest(folder):.1f} s")


if __name__ == "__main__":
    main()
