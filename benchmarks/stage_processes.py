"""Starts pipeline stages as a user does, and finds every process of a run, even if another adopted it."""

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil

_MARK = "MGGTALK_RUN_MARK"
ROOT = Path(__file__).parents[1]


class StageRun:
    """Runs `python -m pipelines.STAGE`, with a mark in the environment of all its processes."""

    def __init__(self, stage: str, params: Path, artifacts: Path, workers: int = 2) -> None:
        """Start the stage in a session of its own."""
        self._mark = uuid.uuid4().hex
        self._log_path = artifacts.with_name(f"{artifacts.name}.{stage}.{self._mark}.log")
        paths = os.pathsep.join([str(ROOT), *(path for path in sys.path if path)])
        environment = {**os.environ, _MARK: self._mark, "MGGTALK_WORKERS": str(workers), "PYTHONPATH": paths}
        environment.pop("RAY_ADDRESS", None)
        command = [sys.executable, "-m", f"pipelines.{stage}", "--params", str(params), "--artifacts", str(artifacts)]
        with self._log_path.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def log(self) -> str:
        """Output of the run so far."""
        return self._log_path.read_text("utf-8", "replace")

    def wait(self, timeout_s: float) -> int:
        """Wait for the end of the stage and return its exit code."""
        return self.process.wait(timeout_s)

    def processes(self) -> list[psutil.Process]:
        """Return the living processes of the run."""
        return [process for process in psutil.process_iter() if _bears(process, self._mark)]

    def survivors(self, timeout_s: float = 90.0) -> list[str]:
        """Return the command lines of the processes that outlive the ended run by `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return [_command_line(process) for process in left]

    def end(self) -> None:
        """Kill the remaining processes of the run."""
        for process in self.processes():
            if process.is_running():
                process.kill()
        self.process.wait()


def _bears(process: psutil.Process, mark: str) -> bool:
    try:
        return bool(process.environ().get(_MARK) == mark and process.status() != psutil.STATUS_ZOMBIE)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()) or process.name()
    except psutil.NoSuchProcess:
        return "ended just now"
