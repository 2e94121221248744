"""`ingest` from a recipe to its tables, again and again: nothing is done twice, and what fails is written down."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from mggtalk.artifacts import Artifacts
from mggtalk.errors import StageError
from mggtalk.params import Params
from mggtalk.records import RejectReason
from mggtalk.runtime.stage_command import StageArguments, stage_main
from mggtalk.stages.ingest.stage import read_videos
from mggtalk.stages.tables import read_rejects
from pipelines import ingest
from tests.support.media import write_video
from tests.support.paths import ROOT
from tests.support.web_server import FileServer, running
from tests.unit.stages.ingest.recipes.recipes import recipe_file


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts")


def params_file(folder: Path, recipe: Path) -> Path:
    path = folder / "params.yaml"
    group = {"recipe": str(recipe), "watch": str(folder), "val_fraction": 0.1, "test_fraction": 0.1}
    path.write_text(yaml.safe_dump({"ingest": group}))
    return path


def run(artifacts: Artifacts, recipe: Path) -> None:
    ingest.run(StageArguments(Params.load(params_file(artifacts.root.parent, recipe)), artifacts))


def rejections(artifacts: Artifacts) -> dict[str, RejectReason]:
    return {reject.key: reject.reason for reject in read_rejects(artifacts.videos)}


def tables(artifacts: Artifacts) -> tuple[bytes, ...]:
    return tuple((artifacts.videos / name).read_bytes() for name in ("videos.parquet", "rejects.parquet"))


def change_in_secret(path: Path) -> None:
    """Change what a file holds, but neither its size nor its times: whoever does not read it sees nothing."""
    status = path.stat()
    with path.open("r+b") as content:
        content.seek(-1, os.SEEK_END)
        content.write(b"?")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_mtime_ns == status.st_mtime_ns


@pytest.mark.usefixtures("local_ray")
def test_a_rerun_reads_no_file_again_and_lays_the_labels_over(tmp_path: Path, artifacts: Artifacts) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    one, two = write_video(folder / "one.mp4", 5), write_video(folder / "two.mp4", 6)
    (folder / "text.mp4").write_text("no video")
    recipe = recipe_file(tmp_path, kind="folder", path="videos")
    run(artifacts, recipe)
    before = tables(artifacts)
    assert rejections(artifacts) == {"text.mp4": RejectReason.UNSUPPORTED_FILE}

    for path in (one, two, folder / "text.mp4"):
        change_in_secret(path)
    run(artifacts, recipe)
    assert tables(artifacts) == before

    (tmp_path / "labels.csv").write_text("file,identity,license\none.mp4,eve,MIT\n")
    run(artifacts, recipe_file(tmp_path, kind="folder", path="videos", labels="labels.csv", splits={"eve": "test"}))
    labelled = {video.name: video for video in read_videos(artifacts.videos)}["one.mp4"]
    assert (labelled.identity, labelled.license, labelled.split) == ("eve", "MIT", "test")

    sha256 = {video.name: video.sha256 for video in read_videos(artifacts.videos)}
    two.touch()
    run(artifacts, recipe)
    now = {video.name: video.sha256 for video in read_videos(artifacts.videos)}
    assert now["one.mp4"] == sha256["one.mp4"]
    assert now["two.mp4"] != sha256["two.mp4"]


@pytest.mark.usefixtures("local_ray")
def test_a_disk_that_is_not_there_for_once_costs_no_second_reading(tmp_path: Path, artifacts: Artifacts) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    write_video(folder / "here.mp4", 4)
    path = write_video(folder / "away.mp4", 5)
    recipe = recipe_file(tmp_path, kind="csv", table="list.csv", columns={"video": "v"}, root="videos")
    (tmp_path / "list.csv").write_text("v\nhere.mp4\naway.mp4\n")
    run(artifacts, recipe)
    before = tables(artifacts)
    path.rename(tmp_path / "away.mp4")
    run(artifacts, recipe)
    assert rejections(artifacts) == {"away.mp4": RejectReason.MISSING_FILE}
    (tmp_path / "away.mp4").rename(path)
    change_in_secret(path)
    run(artifacts, recipe)
    assert tables(artifacts) == before


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    good, other = write_video(tmp_path / "good.mp4", 5), write_video(tmp_path / "other.mp4", 40)
    files = {"/good.mp4": good.read_bytes(), "/other.mp4": other.read_bytes(), "/large.mp4": b"?" * 200_000}
    with running(files) as started:
        started.etag = '"one"'
        yield started


@pytest.mark.usefixtures("local_ray")
def test_what_cannot_be_fetched_is_rejected_and_the_rest_is_kept(
    tmp_path: Path, artifacts: Artifacts, server: FileServer
) -> None:
    dead = FileServer({})
    dead.server_close()
    rows = {
        server.url("/good.mp4"): "",
        server.url("/gone.mp4"): "",
        server.url("/large.mp4"): "",
        server.url("/other.mp4"): "0" * 64,
        dead.url("/dead.mp4"): "",
    }
    recipe = recipe_file(
        tmp_path, kind="csv", table="list.csv", columns={"video": "v", "sha256": "h"}, max_mb=0.1, root="none"
    )
    table = "".join(f"{url},{sha256}\n" for url, sha256 in rows.items())
    (tmp_path / "list.csv").write_text(f"v,h\n{table}lost.mp4,\n")
    run(artifacts, recipe)
    assert [video.name for video in read_videos(artifacts.videos)] == [server.url("/good.mp4")]
    assert rejections(artifacts) == {
        server.url("/gone.mp4"): RejectReason.DOWNLOAD_FAILED,
        server.url("/large.mp4"): RejectReason.TOO_LARGE,
        server.url("/other.mp4"): RejectReason.CHECKSUM_MISMATCH,
        dead.url("/dead.mp4"): RejectReason.DOWNLOAD_FAILED,
        "lost.mp4": RejectReason.MISSING_FILE,
    }
    asked = len(server.paths)
    run(artifacts, recipe)  # tries those again that failed, and only those
    assert sorted(server.paths[asked:]) == ["/gone.mp4", "/large.mp4", "/other.mp4"]

    (tmp_path / "list.csv").write_text(f"v,h\n{server.url('/other.mp4')},\n")
    run(artifacts, recipe)
    (kept,) = read_videos(artifacts.videos)
    assert list((artifacts.videos / "media").iterdir()) == [Path(kept.path)]  # what the recipe names no more is gone


@pytest.mark.usefixtures("local_ray")
def test_an_interrupted_download_goes_on_in_the_next_run_and_serves_all_its_rows(
    tmp_path: Path, artifacts: Artifacts, server: FileServer
) -> None:
    server.cut_after = 1000  # three attempts a run
    columns = {"video": "v", "start": "s", "end": "e", "box": "f"}
    recipe = recipe_file(
        tmp_path, kind="csv", table="list.csv", columns=columns, box_order="x,y,w,h", box_unit="fractions"
    )
    url = server.url("/other.mp4")
    (tmp_path / "list.csv").write_text(f"v,s,e,f\n{url},0,1,0 0 .5 .5\n{url},0,1,.5 0 .5 .5\n{url},1,,\n")
    with pytest.raises(StageError, match="none of 3 inputs"):
        run(artifacts, recipe)
    assert set(rejections(artifacts).values()) == {RejectReason.DOWNLOAD_FAILED}
    assert not list((artifacts.videos / "media").glob("*"))
    server.cut_after = None
    run(artifacts, recipe)
    assert server.ranges == [None, "bytes=1000-", "bytes=2000-", "bytes=3000-"]
    videos = read_videos(artifacts.videos)
    assert {video.box for video in videos} == {(0.0, 0.0, 80.0, 48.0), (80.0, 0.0, 160.0, 48.0), ()}
    assert len({video.video_id for video in videos}) == 3


@pytest.mark.parametrize("name", ["hdtf", "vfhq", "celebvhq"])
def test_a_shipped_recipe_runs_to_its_end_without_videos(
    artifacts: Artifacts, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    artifacts.root.parent.mkdir(exist_ok=True)
    params = params_file(artifacts.root.parent, ROOT / "datasets" / name / "recipe.yaml")
    assert stage_main(ingest.run, "", ["--params", str(params), "--artifacts", str(artifacts.root)]) == 2
    assert "inputs is a usable video" in capsys.readouterr().err
    assert read_videos(artifacts.videos) == []
    assert len(rejections(artifacts)) >= 3
    assert set(rejections(artifacts).values()) == {RejectReason.MISSING_FILE}


def start(params: Path, artifacts: Artifacts) -> subprocess.Popen[bytes]:
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    command = [sys.executable, "-m", "pipelines.ingest", "--params", str(params), "--artifacts", str(artifacts.root)]
    environment: Mapping[str, Any] = {**os.environ, "PYTHONPATH": path, "MGGTALK_WORKERS": "1"}
    return subprocess.Popen(command, env=environment, start_new_session=True)


@pytest.mark.long  # a sample: tests/integration/runtime/test_kill_and_resume.py
def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path, artifacts: Artifacts) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    for number in range(60):
        write_video(folder / f"{number:02d}.mp4", 2 + number)
    params = params_file(tmp_path, recipe_file(tmp_path, kind="folder", path="videos"))
    notes = artifacts.staging("ingest") / "files"

    def states() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in notes.glob("*.json")}

    killed = start(params, artifacts)
    deadline = time.monotonic() + 120
    while len(states()) < 3:
        assert killed.poll() is None, "ended before it was killed"
        assert time.monotonic() < deadline, "nothing finished"
        time.sleep(0.005)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    done = states()
    assert 3 <= len(done) < 60
    assert not artifacts.videos.exists()

    assert start(params, artifacts).wait(timeout=120) == 0
    assert len(read_videos(artifacts.videos)) == 60
    assert {name: when for name, when in states().items() if name in done} == done
    assert len(states()) == 60
