"""Times `track` with one worker and with two on the same videos: `python -m benchmarks.workers FOLDER`.

Each run tracks everything anew with the stage's own module. The time of a run with nothing left to do is subtracted:
that is the cost of starting Python and of reading and writing tables.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml


def run(stage: str, params: Path, artifacts: Path, workers: int) -> float:
    """Run a stage and return its seconds."""
    command = [sys.executable, "-m", f"pipelines.{stage}", "--params", str(params), "--artifacts", str(artifacts)]
    begun = time.monotonic()
    subprocess.run(command, check=True, env={**os.environ, "MGGTALK_WORKERS": str(workers)})
    return time.monotonic() - begun


def main() -> None:
    """Print the seconds of one worker and of two, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = {"kind": "folder", "path": str(args.folder.resolve())}
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
        values = yaml.safe_load(args.params.read_text(encoding="utf-8"))
        values["ingest"] |= {"recipe": str(folder / "recipe.yaml"), "watch": str(folder)}
        params = folder / "params.yaml"
        params.write_text(yaml.safe_dump(values), encoding="utf-8")
        seconds = {}
        for workers in (1, 2):
            artifacts = folder / str(workers)
            run("ingest", params, artifacts, workers)
            seconds[workers] = run("track", params, artifacts, workers)
            seconds[workers] -= run("track", params, artifacts, workers)
    print(f"1 worker {seconds[1]:.1f} s, 2 workers {seconds[2]:.1f} s: {seconds[1] / seconds[2]:.2f} times as fast")


if __name__ == "__main__":
    main()
