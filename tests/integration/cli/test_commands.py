"""Commands as processes of their own: their exit codes, and what they leave on stderr."""

import re
import subprocess
import sys
from pathlib import Path

from mggtalk.shards import write_index, write_shards, write_staged_clip
from tests.support.shard_samples import make_clip


def test_the_doctor_fails_where_models_are_missing(tmp_path: Path) -> None:
    """The whole command in a process of its own, in an empty folder, with an empty cache."""
    outcome = subprocess.run(
        [sys.executable, "-m", "mggtalk", "doctor"],
        cwd=tmp_path,
        env={
            "PYTHONPATH": str(Path.cwd()),
            "MGGTALK_CACHE": str(tmp_path / "cache"),
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 2, outcome.stderr
    lines = outcome.stdout.splitlines()
    row = next(number for number, line in enumerate(lines) if "model face_landmarker" in line)
    assert re.search(r"^fail +model face_landmarker +missing: ", lines[row])
    assert lines[row + 1].strip() == "-> mggtalk models fetch face_landmarker"
    assert re.search(r"^error: \d+ of \d+ checks failed: .*model face_landmarker, ", outcome.stderr.splitlines()[-1])
    assert "Traceback" not in outcome.stderr


def test_a_reader_that_has_seen_enough_leaves_no_trace(tmp_path):
    root = tmp_path / "shards"
    stored = write_staged_clip(tmp_path / "clip.tar", make_clip("ab" * 8, size=8).samples())
    write_index(root, write_shards(root, [stored], target_bytes=10**9))
    with subprocess.Popen(
        [sys.executable, "-m", "mggtalk", "shards", "ls", str(root)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141
