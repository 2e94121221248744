"""Threads of torch sleep while they wait, as `mggtalk` asks of OpenMP; what the user asks for comes first."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("stated", "expected"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_openmp_takes_up_the_policy_when_torch_loads_after_mggtalk(stated, expected):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    told = subprocess.run(
        [sys.executable, "-c", "import mggtalk.models.points.async_nonzero"],
        env={**environment, **stated, "OMP_DISPLAY_ENV": "TRUE"},
        check=True,
        capture_output=True,
        text=True,
    ).stderr
    assert f"OMP_WAIT_POLICY = '{expected}'" in told
