"""Runs that are killed with SIGKILL: the rerun ends with the same bytes, and does no finished video again.

`python -m benchmarks.kill --moments 10` does the same at more moments. Every commit is held to the same property by
`integration/runtime/test_kill_and_resume.py` and by the killed `ingest` of `test_ingest.py`.
"""

import shutil
import subprocess
import sys

import pytest

from benchmarks.kill import Moment, Project, contents, kill_and_rerun, make_project
from benchmarks.stage_processes import ROOT, StageRun

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def project(face_landmarker_path, segmenter_path, tmp_path_factory) -> Project:
    project = make_project(tmp_path_factory.mktemp("kill") / "project")
    project.run_undisturbed()
    return project


@pytest.mark.parametrize(("victim", "fraction"), [("driver", 0.7), ("worker", 0.2), ("child", 0.4)])
def test_a_killed_run_goes_on_where_it_stopped(project, tmp_path, victim, fraction):
    check(kill_and_rerun(project, Moment("track", victim, fraction), tmp_path / "artifacts"), victim)


def test_killed_shards_go_on_where_they_stopped(project, tmp_path):
    check(kill_and_rerun(project, Moment("shards", "driver", 0.9), tmp_path / "artifacts"), "driver")


def test_one_worker_makes_the_bytes_of_two(project, tmp_path):
    artifacts = tmp_path / "artifacts"
    for folder in ("videos", "tracks"):
        shutil.copytree(project.root / "undisturbed" / folder, artifacts / folder)
    alone = StageRun("shards", project.params, artifacts, workers=1)
    try:
        assert alone.wait(300) == 0, alone.log
    finally:
        alone.end()
    expected = {name: data for name, data in project.expected.items() if name.startswith("shards/")}
    assert contents(artifacts, ["shards"]) == expected


def check(outcome, victim):
    assert outcome.damaged == ()
    assert outcome.differing == ()
    assert outcome.done_again == ()
    assert outcome.said == outcome.finished
    assert outcome.survivors == ()
    # Ray replaces a worker; a video whose process was killed is a rejection that the rerun tries again.
    assert outcome.exit_codes == (-9 if victim == "driver" else 0, 0)


def test_a_full_disk_is_said_and_nothing_is_lost(project, tmp_path):
    """The artifacts lie in a file system of their own, which is too small at first."""
    if subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("cannot mount a file system here")
    undisturbed, small = project.root / "undisturbed", tmp_path / "small"
    (small / "artifacts").mkdir(parents=True)
    size = sum(path.stat().st_size for path in undisturbed.rglob("*") if path.is_file())
    needed = size - sum(path.stat().st_size for path in (undisturbed / "shards").rglob("*") if path.is_file())
    stage = f"{sys.executable} -m pipelines.shards --params {project.params} --artifacts {small / 'artifacts'}"
    script = f"""
        mount -t tmpfs -o size={needed + (size - needed) // 2} tmpfs {small / "artifacts"}
        cp -r {undisturbed}/videos {undisturbed}/tracks {small / "artifacts"}
        {stage} 2> {small / "first.log"}; echo $? > {small / "first.code"}
        ls {small / "artifacts"}/.staging/shards/*.json | wc -l > {small / "first.count"}
        mount -o remount,size={8 * size} {small / "artifacts"}
        {stage} 2> {small / "second.log"}; echo $? > {small / "second.code"}
        cp -r {small / "artifacts"}/shards {small / "shards"}
    """
    subprocess.run(["unshare", "-rm", "sh", "-c", script], check=True, cwd=ROOT)
    assert (small / "first.code").read_text() == "2\n", (small / "first.log").read_text()[-2000:]
    assert "No space left on device" in (small / "first.log").read_text().splitlines()[-1]
    assert (small / "second.code").read_text() == "0\n", (small / "second.log").read_text()[-2000:]
    kept = int((small / "first.count").read_text())
    assert kept > 0
    assert f"shards: {kept} of " in (small / "second.log").read_text()
    expected = {name: data for name, data in project.expected.items() if name.startswith("shards/")}
    assert contents(small, ["shards"]) == expected
