"""A run that is killed with SIGKILL goes on where it stopped: nothing done is lost, nothing is done twice."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

SCRIPT = """
import sys
from operator import attrgetter
from pathlib import Path
from mggtalk.result_cache import ResultCache
from mggtalk.runtime.stage_runner import run_stage
from tests.integration.runtime.toy_stages import DiaryStage, Job

results = ResultCache(Path(sys.argv[1]) / "results", ".txt")
jobs = [Job(f"job-{number}", str(Path(sys.argv[1]) / "diary")) for number in range(8)]
run_stage(
    DiaryStage,
    results.unfinished(jobs, attrgetter("key")),
    name="toy",
    key_of=attrgetter("key"),
    on_result=lambda job, outputs: results.write(job.key, str(outputs[0]).encode()),
    num_workers=1,
)
"""
NUM_JOBS = 8


def start(directory: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen([sys.executable, "-c", SCRIPT, directory], env=environment, start_new_session=True)


def finished(directory: Path) -> set[str]:
    return {path.stem for path in (directory / "results").glob("*.txt")}


def test_a_killed_run_goes_on_where_it_stopped(tmp_path):
    (tmp_path / "diary").mkdir()
    run = start(tmp_path)
    deadline = time.monotonic() + 120
    while len(finished(tmp_path)) < 2:
        assert run.poll() is None, "ended before it was killed"
        assert time.monotonic() < deadline, "nothing finished"
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    before = finished(tmp_path)
    assert 2 <= len(before) < NUM_JOBS
    times_done = {key: len(list((tmp_path / "diary").glob(f"{key}.*"))) for key in before}

    assert start(tmp_path).wait(timeout=120) == 0

    assert len(finished(tmp_path)) == NUM_JOBS
    assert {key: len(list((tmp_path / "diary").glob(f"{key}.*"))) for key in before} == times_done
