import hashlib
import math
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mggtalk.errors import StageError
from mggtalk.records import Rejected, RejectReason, Split, VideoRecord
from mggtalk.stages.ingest.config import IngestConfig
from mggtalk.stages.ingest.items import IngestItem, printable
from mggtalk.stages.ingest.probe import ProbedFile, ProbeStage, look_up
from mggtalk.stages.ingest.stage import collect, read_videos, split_duplicates, video_id, video_of, write_videos
from mggtalk.stages.tables import read_rejects, write_rejects
from tests.support.media import corrupted_copy, tone, write_video

CONFIG = IngestConfig(recipe="recipe.yaml", watch="videos", val_fraction=0.0, test_fraction=0.0)


def probed(path: Path) -> ProbedFile | Rejected:
    file = look_up(str(path))
    if isinstance(file, Rejected):
        return file
    (result,) = ProbeStage()(file)
    return result


def ingest(path: Path, *, config: IngestConfig = CONFIG, **item: Any) -> VideoRecord | Rejected:
    named = IngestItem(path=str(path), name=printable(path.name), **item)
    return video_of(named, probed(path), config)


def rejection(path: Path, **item: Any) -> Rejected:
    result = ingest(path, **item)
    assert isinstance(result, Rejected)
    assert result.key == path.name
    assert path.name in result.detail
    return result


def video(path: Path, **item: Any) -> VideoRecord:
    result = ingest(path, **item)
    assert isinstance(result, VideoRecord)
    return result


def test_video_is_described_in_full(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 15, fps=30.0, audio=tone(0.5))
    record = video(path, identity="eve", license="MIT", split=Split.VAL)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert record.duration_s == pytest.approx(0.5, abs=0.15)
    assert record == VideoRecord(
        video_id=sha256[:16],
        path=str(path),
        sha256=sha256,
        size_bytes=path.stat().st_size,
        start_s=0.0,
        end_s=math.inf,
        width=160,
        height=96,
        fps=30.0,
        num_frames=15,
        duration_s=record.duration_s,
        has_audio=True,
        identity="eve",
        license="MIT",
        split=Split.VAL,
        split_stated=True,
        name="a.mp4",
        box=(),
    )


def test_unlabelled_video_is_a_person_of_its_own_split_by_hash(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 5)
    record = video(path)
    assert record.identity == f"video:{record.sha256[:16]}"
    assert record.license == "unknown"
    assert record.split is Split.TRAIN
    config = IngestConfig(recipe="", watch="", val_fraction=0.0, test_fraction=0.999999)
    tested = ingest(path, config=config)
    assert isinstance(tested, VideoRecord)
    assert tested.split is Split.TEST


def test_interval_has_an_id_of_its_own(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 25)
    record = video(path, start_s=0.25, end_s=0.75)
    assert record.video_id == f"{record.sha256[:16]}-00000250-00000750"
    assert (record.start_s, record.end_s) == (0.25, 0.75)
    assert video_id(record.sha256, 1.0) == f"{record.sha256[:16]}-00001000-end"


def test_missing_file(tmp_path: Path) -> None:
    assert rejection(tmp_path / "gone.mp4").reason is RejectReason.MISSING_FILE


def test_links_to_nothing_and_names_that_cannot_be_are_missing_files(tmp_path: Path) -> None:
    (tmp_path / "link.mp4").symlink_to("gone.mp4")
    (tmp_path / "circle.mp4").symlink_to("circle.mp4")
    for name in ("link.mp4", "circle.mp4", "x" * 5000, "zero\0byte.mp4"):
        assert rejection(tmp_path / name).reason is RejectReason.MISSING_FILE


def test_a_pipe_is_unsupported(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    rejected = rejection(tmp_path / "pipe.mp4")
    assert (rejected.reason, "no regular file" in rejected.detail) == (RejectReason.UNSUPPORTED_FILE, True)


def test_a_name_that_is_no_utf8_is_rejected_and_can_be_written(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 5).rename(tmp_path / os.fsdecode(b"caf\xe9.mp4"))
    rejected = ingest(path)
    assert isinstance(rejected, Rejected)
    assert (rejected.key, rejected.reason) == ("caf\\xe9.mp4", RejectReason.UNSUPPORTED_FILE)
    assert rejected.detail == f"{tmp_path}/caf\\xe9.mp4: the file name is not UTF-8; rename the file"
    write_rejects(tmp_path, [rejected])
    assert read_rejects(tmp_path) == [rejected]
    assert printable("café \\x.mp4") == "café \\x.mp4"


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    assert rejection(tmp_path / "a.mp4").reason is RejectReason.EMPTY_FILE


def test_text_is_unsupported(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("not a video")
    assert rejection(tmp_path / "a.mp4").reason is RejectReason.UNSUPPORTED_FILE


def test_playlist_that_points_to_a_video_is_unsupported(tmp_path: Path) -> None:
    target = write_video(tmp_path / "a.ts", 25)
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:1", "#EXTINF:1,", str(target), "#EXT-X-ENDLIST", ""]
    (tmp_path / "a.m3u8").write_text("\n".join(lines))
    assert rejection(tmp_path / "a.m3u8").reason is RejectReason.UNSUPPORTED_FILE


def test_sound_alone_has_no_video_stream(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 0, audio=tone(0.5))
    assert rejection(path).reason is RejectReason.NO_VIDEO_STREAM


def test_damaged_video_cannot_be_decoded(tmp_path: Path) -> None:
    path = corrupted_copy(write_video(tmp_path / "a.mp4", 30), tmp_path / "b.mp4", 0.02, 0.5)
    assert rejection(path).reason is RejectReason.DECODE_ERROR


@pytest.mark.parametrize(("start_s", "end_s"), [(5.0, 6.0), (0.5, 0.5), (0.6, 0.5)])
def test_an_interval_with_nothing_in_it_is_too_short(tmp_path: Path, start_s: float, end_s: float) -> None:
    path = write_video(tmp_path / "a.mp4", 25)
    assert rejection(path, start_s=start_s, end_s=end_s).reason is RejectReason.TOO_SHORT


@pytest.mark.parametrize(
    ("box", "box_frame", "expected"),
    [
        ((10.0, 20.0, 50.0, 60.0), (), (10.0, 20.0, 50.0, 60.0)),
        ((0.25, 0.5, 0.75, 1.0), (1.0, 1.0), (40.0, 48.0, 120.0, 96.0)),  # fractions
        ((20.0, 40.0, 100.0, 120.0), (320.0, 192.0), (10.0, 20.0, 50.0, 60.0)),  # of a frame twice as large
        ((20.0, 40.0, 100.0, 120.0), (0.0, 192.0), (10.0, 20.0, 50.0, 60.0)),  # whose height alone is known
        ((-5.0, -5.0, 500.0, 10.0), (), (0.0, 0.0, 160.0, 10.0)),
        ((1.0 / 3, 0.1, 2.0 / 3, 0.9), (1.0, 1.0), (53.33, 9.6, 106.67, 86.4)),
    ],
)
def test_a_box_is_in_pixels_of_the_video(
    tmp_path: Path, box: tuple[float, ...], box_frame: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    record = video(write_video(tmp_path / "a.mp4", 5), box=box, box_frame=box_frame)
    assert record.box == pytest.approx(expected)
    assert record.video_id.startswith(f"{record.sha256[:16]}-b")


def test_a_box_is_of_the_upright_frame(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 5, rotation=90)
    assert video(path, box=(0.0, 0.0, 1.0, 1.0), box_frame=(1.0, 1.0)).box == (0.0, 0.0, 96.0, 160.0)


@pytest.mark.parametrize("box", [(200.0, 10.0, 300.0, 50.0), (50.0, 10.0, 40.0, 60.0), (10.0, -9.0, 20.0, 0.0)])
def test_a_box_of_which_nothing_is_in_the_frame_is_rejected(tmp_path: Path, box: tuple[float, ...]) -> None:
    rejected = rejection(write_video(tmp_path / "a.mp4", 5), box=box)
    assert rejected.reason is RejectReason.BOX_OUTSIDE_FRAME
    assert "160 x 96 pixels" in rejected.detail


def test_two_faces_at_one_time_are_two_videos(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 25)
    boxes = [(0.0, 0.0, 50.0, 50.0), (60.0, 0.0, 110.0, 50.0), (60.004, 0.0, 110.0, 50.0), ()]
    records = [
        replace(video(path, start_s=0.25, end_s=0.75, box=box), name=str(number)) for number, box in enumerate(boxes)
    ]
    kept, rejects = split_duplicates(records)
    assert [record.box for record in kept] == [boxes[0], boxes[1], ()]
    assert [reject.key for reject in rejects] == ["2"]  # the same to a hundredth of a pixel
    assert records[3].video_id == f"{records[0].sha256[:16]}-00000250-00000750"
    assert records[0].video_id.rpartition("-")[0] == records[3].video_id


def test_a_file_with_another_hash_than_the_recipe_states_is_rejected(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 5)
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    assert video(path, sha256=right).sha256 == right
    rejected = rejection(path, sha256="0" * 64)
    assert rejected.reason is RejectReason.CHECKSUM_MISMATCH
    assert f"has SHA-256 {right}, expected 000" in rejected.detail


def test_duplicates_are_rejected_in_favour_of_the_first_name(tmp_path: Path) -> None:
    path = write_video(tmp_path / "b.mp4", 5)
    names = ["c.mp4", "a.mp4", "b.mp4"]
    for name in names:
        (tmp_path / name).write_bytes(path.read_bytes())
    records = [video(tmp_path / name) for name in names]
    kept, rejects = split_duplicates([*records, video(path, end_s=0.1)])
    assert [(record.name, record.end_s) for record in kept] == [("a.mp4", math.inf), ("b.mp4", 0.1)]
    assert [(reject.key, reject.reason) for reject in rejects] == [
        ("b.mp4", RejectReason.DUPLICATE),
        ("c.mp4", RejectReason.DUPLICATE),
    ]
    assert rejects[0].detail == "same content as a.mp4"


def test_a_labelled_duplicate_is_kept_before_an_unlabelled_one(tmp_path: Path) -> None:
    path = write_video(tmp_path / "z.mp4", 5)
    (tmp_path / "a.mp4").write_bytes(path.read_bytes())
    labelled, unlabelled = video(path, identity="alice"), video(tmp_path / "a.mp4", identity=None)
    kept, rejects = split_duplicates([unlabelled, labelled])
    assert [(record.name, record.identity) for record in kept] == [("z.mp4", "alice")]
    assert [reject.key for reject in rejects] == ["a.mp4"]


def test_outcome_accounts_for_every_input_in_any_order(tmp_path: Path) -> None:
    first, second = write_video(tmp_path / "a.mp4", 5), write_video(tmp_path / "b.mp4", 6)
    (tmp_path / "c.mp4").write_bytes(first.read_bytes())
    results = [ingest(tmp_path / name) for name in ("a.mp4", "b.mp4", "c.mp4", "gone.mp4")]
    outcome = collect(results)
    assert outcome.num_inputs == 4
    assert {record.path for record in outcome.videos} == {str(first), str(second)}
    assert [reject.key for reject in outcome.rejects] == ["c.mp4", "gone.mp4"]
    assert collect(reversed(results)) == outcome


def test_tables_come_back_and_do_not_depend_on_order(tmp_path: Path) -> None:
    videos = [video(write_video(tmp_path / f"{number}.mp4", number)) for number in range(2, 6)]
    videos[1] = replace(videos[1], box=(1.0, 2.5, 30.0, 40.0))
    rejects = [Rejected("b", RejectReason.EMPTY_FILE, "0 bytes"), Rejected("a", RejectReason.NO_VIDEO_STREAM)]
    write_videos(tmp_path / "one", videos, rejects)
    assert read_videos(tmp_path / "one") == sorted(videos, key=lambda record: record.video_id)
    assert read_rejects(tmp_path / "one") == rejects[::-1]
    random.Random(0).shuffle(videos)
    write_videos(tmp_path / "two", videos, rejects[::-1])
    for name in ("videos.parquet", "rejects.parquet"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["rejects.parquet", "videos.parquet"]


def test_tables_may_be_empty(tmp_path: Path) -> None:
    write_rejects(tmp_path, [])
    assert read_rejects(tmp_path) == []


def test_missing_damaged_and_foreign_tables_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "videos.parquet"
    with pytest.raises(StageError, match=r"videos\.parquet: no such file"):
        read_videos(tmp_path)
    path.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(StageError, match=r"videos\.parquet: cannot be read as Parquet"):
        read_videos(tmp_path)
    pq.write_table(pa.table({"video_id": ["a"]}), path)
    with pytest.raises(
        StageError, match=r"videos\.parquet: got the columns video_id: string; expected video_id: string, "
    ):
        read_videos(tmp_path)
