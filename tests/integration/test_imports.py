"""Nothing is imported before it is used."""

import subprocess
import sys

import pytest

from tests.support.paths import ROOT

HEAVY = ("av", "cv2", "mediapipe", "pyarrow", "ray", "scipy", "torch")


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        ("import mggtalk; dir(mggtalk)", (*HEAVY, "numpy", "pydantic")),
        ("from mggtalk.cli.parser import make_parser; make_parser().format_help()", (*HEAVY, "numpy")),
    ],
)
def test_neither_the_package_nor_its_command_line_imports_what_it_may_not_need(code, unwanted):
    seen = f"import sys; {code}; print(*sorted(set({unwanted!r}) & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", seen], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []
