import hashlib
import math
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mggtalk.errors import ParamsError, StageError
from mggtalk.params import validate
from mggtalk.records import Rejected, RejectReason, Split, VideoRecord
from mggtalk.stages.ingest import (
    IngestConfig,
    IngestItem,
    IngestStage,
    collect,
    printable,
    read_videos,
    split_duplicates,
    video_id,
    write_videos,
)
from mggtalk.stages.tables import read_rejects, write_rejects
from pipelines import ingest as pipeline
from pipelines.arguments import Artifacts, StageArguments
from tests.media import corrupted_copy, tone, write_video

CONFIG = IngestConfig(recipe="recipe.yaml", watch="videos", val_fraction=0.0, test_fraction=0.0)


def ingest(path: Path, **item: object) -> VideoRecord | Rejected:
    (result,) = IngestStage(CONFIG)(IngestItem(path=str(path), name=path.name, **item))  # type: ignore[arg-type]
    return result


def rejection(path: Path, **item: object) -> Rejected:
    result = ingest(path, **item)
    assert isinstance(result, Rejected)
    assert result.key == path.name
    assert path.name in result.detail
    return result


def video(path: Path, **item: object) -> VideoRecord:
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
    )


def test_unlabelled_video_is_a_person_of_its_own_split_by_hash(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 5)
    record = video(path)
    assert record.identity == f"video:{record.sha256[:16]}"
    assert record.license == "unknown"
    assert record.split is Split.TRAIN
    config = IngestConfig(recipe="", watch="", val_fraction=0.0, test_fraction=0.999999)
    (tested,) = IngestStage(config)(IngestItem(path=str(path), name="a"))
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
    (rejected,) = IngestStage(CONFIG)(IngestItem(path=str(path), name=printable(path.name)))
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


def test_interval_after_the_end_is_too_short(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 25)
    assert rejection(path, start_s=5.0, end_s=6.0).reason is RejectReason.TOO_SHORT


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


@pytest.mark.parametrize(("key", "value"), [("val_fraction", -0.1), ("test_fraction", 1.0), ("recipe", 3)])
def test_config_values_out_of_range_are_errors(key: str, value: object) -> None:
    values = {"recipe": "r", "watch": "w", "val_fraction": 0.1, "test_fraction": 0.1, key: value}
    with pytest.raises(ParamsError, match=key):
        validate(values, IngestConfig, "params.yaml: ingest")


@pytest.mark.parametrize(("val", "test"), [(0.6, 0.5), (0.01, 0.999)])
def test_parts_larger_than_the_whole_are_an_error(val: float, test: float) -> None:
    values = {"recipe": "r", "watch": "w", "val_fraction": val, "test_fraction": test}
    with pytest.raises(ParamsError, match=r"val_fraction \+ test_fraction: .* is more than 1"):
        validate(values, IngestConfig, "params.yaml: ingest")
    assert validate(values | {"val_fraction": 1 - test}, IngestConfig, "params.yaml: ingest").test_fraction == test


def run_here(
    _: object,
    records: Sequence[IngestItem],
    *,
    on_result: Callable[[IngestItem, list[VideoRecord | Rejected]], None],
    **__: object,
) -> None:
    for record in records:
        on_result(record, list(IngestStage(CONFIG)(record)))


def test_media_of_an_older_recipe_go_once_the_tables_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    media = tmp_path / "artifacts" / "videos" / "media"
    media.mkdir(parents=True)
    write_video(media / "old.mp4", 5)
    named = [IngestItem(path=str(media / "new.mp4"), name="new.mp4")]
    params = tmp_path / "params.yaml"
    params.write_text("ingest: {recipe: r, watch: w, val_fraction: 0.1, test_fraction: 0.1}\n")
    monkeypatch.setattr(pipeline, "run_stage", run_here)
    monkeypatch.setattr(pipeline, "load_items", lambda *_: named)
    arguments = StageArguments(params, Artifacts(tmp_path / "artifacts"))
    with pytest.raises(StageError, match="none of 1 inputs is a usable video"):
        pipeline.run(arguments)
    assert (media / "old.mp4").is_file()
    write_video(media / "new.mp4", 5)
    pipeline.run(arguments)
    assert [path.name for path in media.iterdir()] == ["new.mp4"]
    assert [record.name for record in read_videos(tmp_path / "artifacts" / "videos")] == ["new.mp4"]
