"""Broken, odd and hostile files through `ingest` and `track`, as a user runs them: 160, and 400 in the long run."""

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import av
import pytest
import yaml

from benchmarks.stage_processes import StageRun
from mggtalk.artifacts import Artifacts
from mggtalk.records import RejectReason
from mggtalk.stages.ingest.items import printable
from mggtalk.stages.ingest.stage import read_videos
from mggtalk.stages.tables import read_rejects
from mggtalk.stages.track.track_files import read_track_files
from tests.support.fuzz_corpus import Corpus, make_corpus
from tests.support.opened_files import OpenedFiles
from tests.support.paths import ROOT


@dataclass
class FuzzRun:
    """What came of the corpus."""

    corpus: Corpus
    artifacts: Artifacts
    exit_codes: dict[str, int]
    logs: str
    survivors: list[str]
    opened: set[str]
    knocks: int


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    """Stands for every host that a file may name: whoever connects is counted."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        server.setblocking(False)
        yield server


@pytest.fixture(scope="module", params=[160, pytest.param(400, marks=pytest.mark.long)])
def corpus(request, sample_videos, listener, tmp_path_factory) -> Corpus:
    root = tmp_path_factory.mktemp("fuzz")
    return make_corpus(root, sample_videos["single_face.mp4"], request.param, port=listener.getsockname()[1])


def knocks(listener: socket.socket) -> int:
    count = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


@pytest.fixture(scope="module")
def fuzzed(corpus, listener, face_landmarker_path) -> FuzzRun:
    root = corpus.folder.parent
    (root / "recipe.yaml").write_text(yaml.safe_dump({"kind": "folder", "path": str(corpus.folder)}))
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["ingest"] |= {"recipe": str(root / "recipe.yaml"), "watch": str(corpus.folder)}
    params["track"] |= {"min_clip_s": 0.4}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    exit_codes, logs, survivors = {}, "", []
    with OpenedFiles(corpus.canaries) as opened:
        for stage in ("ingest", "track"):
            run = StageRun(stage, root / "params.yaml", root / "artifacts")
            try:
                exit_codes[stage] = run.wait(170)
                survivors += run.survivors()
            finally:
                run.end()
            logs += run.log
        return FuzzRun(
            corpus, Artifacts(root / "artifacts"), exit_codes, logs, survivors, opened.names(), knocks(listener)
        )


pytestmark = pytest.mark.timeout(400)


def test_the_run_ends_well(fuzzed):
    assert fuzzed.exit_codes == {"ingest": 0, "track": 0}, fuzzed.logs[-3000:]
    assert "Traceback" not in fuzzed.logs


def test_every_file_has_its_row(fuzzed):
    videos = {video.name for video in read_videos(fuzzed.artifacts.videos)}
    rejects = [rejected.key for rejected in read_rejects(fuzzed.artifacts.videos)]
    assert len(rejects) == len(set(rejects))
    assert not videos & set(rejects)
    assert videos | set(rejects) == {printable(name) for name in fuzzed.corpus.names}
    assert len(videos) + len(rejects) == len(fuzzed.corpus.names)


def test_every_video_has_clips_or_a_row(fuzzed):
    videos = {video.video_id: video for video in read_videos(fuzzed.artifacts.videos)}
    tracked = {file.record.name for file in read_track_files(fuzzed.artifacts.tracks, videos)}
    rejects = read_rejects(fuzzed.artifacts.tracks)
    assert tracked | {rejected.key for rejected in rejects} == {video.name for video in videos.values()}
    reasons = Counter(rejected.reason for rejected in rejects)
    assert len(videos) - reasons.total() > len(videos) / 4, (
        f"only {len(videos) - reasons.total()} of {len(videos)} give clips"
    )
    assert reasons[RejectReason.DECODE_ERROR] > len(videos) / 40


def test_what_ffmpeg_could_read_whole_is_kept(fuzzed):
    videos = {video.name for video in read_videos(fuzzed.artifacts.videos)}
    # Damage may change nothing: zeros where zeros were.
    rejects = read_rejects(fuzzed.artifacts.videos)
    videos |= {rejected.key for rejected in rejects if rejected.reason is RejectReason.DUPLICATE}
    assert {"h264.mp4", "hevc.mov", "vp9.webm", "mpeg4.avi", "mpeg2.mpg", "h264.ts", "h264.flv"} <= videos
    assert {"a\nb.mp4", "-i.mp4", "concat:a|b.mp4", "n" * 251 + ".mp4", "folder.mp4/inside.mp4"} <= videos


def test_no_file_outside_the_input_is_opened_and_no_host_is_asked(fuzzed):
    assert fuzzed.opened == set()
    assert fuzzed.knocks == 0


def test_no_process_is_left_over(fuzzed):
    assert fuzzed.survivors == []


def test_the_watch_sees_what_an_unguarded_reader_opens(corpus, listener):
    """The corpus is a real threat, and the test above would see it."""
    names = [
        "hls-relative.m3u8",
        "concat-file.ffconcat",
        "concat-absolute.mkv",
        "alias-absolute.mov",
        "alias-relative.mov",
    ]
    with OpenedFiles(corpus.canaries) as opened:
        for name in names:
            open_unguarded(corpus.folder / name)
            assert opened.names() == {"canary.ts"}, name
        open_unguarded(corpus.folder / "hls-url.m3u8")
    assert knocks(listener) > 0


def open_unguarded(path: Path) -> None:
    options = {
        ".mov": {"enable_drefs": "1", "use_absolute_path": "1"},
        ".m3u8": {"protocol_whitelist": "file,http,tcp"},
    }.get(path.suffix, {"safe": "0"})
    with suppress(av.FFmpegError, OSError), av.open(str(path), options=options, timeout=2.0) as container:
        next(container.decode(video=0), None)
