"""Measures the cost of one more video in a DVC project: `python -m benchmarks.local_cost CLIPS`.

The project lies in a scratch folder, and its remote is a folder too. The first 2 s of 60 videos of the folder CLIPS
(those of kind `talking` in its `manifest.csv`, if it has one) go through `dvc repro shards` and `dvc push`; then one
more. Prints the clips computed the second time, by the stage's records of finished clips and by its log; the changed
files of the data set; and the objects that the second push added to the remote.
"""

import argparse
import csv
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
SECONDS = 2.0
# Small images; two seconds hold two source frames.
CHANGES = {
    "track": {"min_clip_s": 0.5},
    "shards": {"size": 128, "geometry_stride": 25},
}


def find_videos(folder: Path) -> list[Path]:
    """Return the videos of a folder by name: those of kind `talking` in its `manifest.csv`, or all."""
    manifest = folder / "manifest.csv"
    if manifest.is_file():
        with manifest.open(newline="", encoding="utf-8") as lines:
            return sorted(folder / row["file"] for row in csv.DictReader(lines) if row["kind"] == "talking")
    return sorted(path for path in folder.iterdir() if path.suffix in {".mp4", ".mov", ".mkv", ".webm", ".avi"})


class Project:
    """A copy of this project's pipeline under DVC, whose data set is a table of videos."""

    def __init__(self, folder: Path, shard_mb: float) -> None:
        self.folder = folder / "project"
        self.remote = folder / "remote"
        self.shards = self.folder / "artifacts" / "shards"
        self._finished = self.folder / "artifacts" / ".staging" / "shards"
        for package in ("mggtalk", "pipelines"):
            shutil.copytree(ROOT / package, self.folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "dvc.yaml", self.folder)
        (self.folder / "data").mkdir()
        (self.folder / "data" / "recipe.yaml").write_text(
            yaml.safe_dump({"kind": "csv", "table": "videos.csv", "columns": {"video": "file", "end": "end"}})
        )
        params = yaml.safe_load((ROOT / "params.yaml").read_text())
        params["ingest"] |= {"recipe": "data/recipe.yaml", "watch": "data"}
        for group, changes in CHANGES.items():
            params[group] |= changes
        params["shards"]["target_shard_mb"] = shard_mb
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params))
        self.dvc("init", "--no-scm", "-q")
        self.dvc("remote", "add", "-q", "--default", "store", str(self.remote))

    def list_videos(self, videos: Sequence[Path]) -> None:
        """Write the table of these videos."""
        rows = "".join(f"{path.resolve()},{SECONDS}\n" for path in videos)
        (self.folder / "data" / "videos.csv").write_text(f"file,end\n{rows}")

    def dvc(self, *words: str) -> str:
        """Run DVC and return its output and that of the stages."""
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.folder),
            "DVC_NO_ANALYTICS": "1",
        }
        done = subprocess.run(
            ["dvc", *words],
            check=False,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"dvc {' '.join(words)}: exit code {done.returncode}\n{done.stdout[-4000:]}")
        return done.stdout

    def run(self) -> str:
        """Run the stages up to the shards, push these, and return the output of the stages."""
        begun_s = time.monotonic()
        said = self.dvc("repro", "shards")
        repro_s = time.monotonic() - begun_s
        self.dvc("push", "-q", "artifacts/shards")
        print(f"dvc repro {repro_s:.0f} s, dvc push {time.monotonic() - begun_s - repro_s:.0f} s")
        for line in said.splitlines():
            if re.match(r"(track|shards)( in all)?: (kept|\d+ of)", line):
                print(f"    {line}")
        return said

    def finished_clips(self) -> set[str]:
        """Return the content keys of the clips that the stage has finished."""
        return {path.stem for path in self._finished.glob("*.json")}

    def data_set(self) -> dict[str, bytes]:
        """Return the files of the data set."""
        return _files(self.shards)

    def sent(self) -> dict[str, int]:
        """Return the sizes of the objects in the remote."""
        return {name: len(content) for name, content in _files(self.remote).items()}


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def main() -> None:
    """Print the cost of the last video."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--videos", type=int, default=60, help="before the last one; default: 60")
    parser.add_argument("--shard-mb", type=float, default=4.0, help="target size of a shard; default: 4")
    options = parser.parse_args()
    videos = find_videos(options.clips)[: options.videos + 1]
    if len(videos) <= options.videos:
        raise SystemExit(f"{options.clips}: got {len(videos)} videos, expected at least {options.videos + 1}")
    with tempfile.TemporaryDirectory() as name:
        project = Project(Path(name), options.shard_mb)
        project.list_videos(videos[:-1])
        project.run()
        old, old_clips, old_sent = project.data_set(), project.finished_clips(), project.sent()
        project.list_videos(videos)
        project.run()
        new, sent = project.data_set(), project.sent()
        added = {key: size for key, size in sent.items() if key not in old_sent}
        computed = project.finished_clips() - old_clips
        forgotten = old_clips - project.finished_clips()
        changed = sorted(path for path, content in new.items() if old.get(path) != content)
        gone = sorted(old.keys() - new)
        whole, num_bytes = sum(map(len, new.values())), sum(added.values())
        num_shards = sum(path.endswith(".tar") for path in new)
        num_changed = sum(path.endswith(".tar") for path in changed)
        print(f"clips: {len(old_clips)} before, {len(computed)} computed, {len(forgotten)} of the old forgotten")
        print(f"shards: {num_shards}, changed {num_changed}")
        print(f"files: {len(new)}, changed: {', '.join(changed)}; gone: {', '.join(gone) or 'none'}")
        print(f"first push: {len(old_sent)} objects, {sum(old_sent.values())} bytes")
        print(
            f"second push: {len(added)} objects, {num_bytes} bytes, {num_bytes / whole:.2%} of the data set's {whole}"
        )


if __name__ == "__main__":
    main()
