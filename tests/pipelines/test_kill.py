"""Runs that are killed with SIGKILL: the rerun ends with the same bytes, and does no finished video again.

`python -m benchmarks.kill --moments 10` does the same at more moments.
"""

import pytest

from benchmarks.kill import Moment, Project, kill_and_rerun, make_project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def project(face_landmarker_path, segmenter_path, tmp_path_factory) -> Project:
    project = make_project(tmp_path_factory.mktemp("kill") / "project")
    project.run_undisturbed()
    return project


@pytest.mark.parametrize(("victim", "fraction"), [("driver", 0.7), ("worker", 0.2), ("child", 0.4)])
def test_a_killed_run_goes_on_where_it_stopped(project, tmp_path, victim, fraction):
    check(kill_and_rerun(project, Moment("track", victim, fraction), tmp_path / "artifacts"), victim)


@pytest.mark.parametrize("fraction", [0.75, 0.97])
def test_killed_shards_go_on_where_they_stopped(project, tmp_path, fraction):
    """While clips are made, and while shards are put together."""
    check(kill_and_rerun(project, Moment("shards", "driver", fraction), tmp_path / "artifacts"), "driver")


def check(outcome, victim):
    assert outcome.damaged == ()
    assert outcome.differing == ()
    assert outcome.done_again == ()
    assert outcome.said == outcome.finished
    assert outcome.survivors == ()
    # Ray replaces a worker; a video whose process was killed is a rejection that the rerun tries again.
    assert outcome.exit_codes == (-9 if victim == "driver" else 0, 0)
