from dataclasses import replace
from html.parser import HTMLParser

import pyarrow as pa
import pytest
from pyarrow import parquet

from mggtalk.errors import StageError
from mggtalk.evaluation.config import EvaluateConfig
from mggtalk.evaluation.report.curves import CHART_HEIGHT, CHART_WIDTH, Curve, read_curves, read_last_image
from mggtalk.evaluation.report.html import ReportContent, metric_table, write_report
from mggtalk.evaluation.report.rejects import StageCounts, read_rejects
from mggtalk.evaluation.summary import Instruments, summarise
from mggtalk.perception.identity import IdentityUnavailable
from mggtalk.records import Rejected, RejectReason
from tests.unit.evaluation.synthetic import Entry, SyntheticClips, make_stage

NO_FACE = Rejected("video-1", RejectReason.NO_FACE, "0 of 90 frames <show> a face")
INSTRUMENTS = Instruments(64, "mean colour", IdentityUnavailable("the weights are not here"))
BROKEN = Rejected("video-2", RejectReason.DECODE_ERROR)


class Links(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.links, self.images_without_text, self.open_tags = [], 0, []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.links += [values[name] for name in ("src", "href", "poster") if name in values]
        self.images_without_text += tag == "img" and not values.get("alt")
        if tag not in {"meta", "img", "line", "polyline"}:
            self.open_tags.append(tag)

    def handle_endtag(self, tag):
        if tag not in {"line", "polyline"}:
            assert self.open_tags.pop() == tag


@pytest.fixture
def content(clip_result, speed):
    other = replace(clip_result, clip_id="fedcba9876543210-f000000")
    results = [clip_result, other]
    return ReportContent(
        title="Evaluation of <sample>",
        summary=summarise(EvaluateConfig(), INSTRUMENTS, results, speed),
        results=results,
        stages=[StageCounts("ingest", "videos", 5, 5, ()), StageCounts("track", "videos", 5, 3, (NO_FACE, BROKEN))],
        curves=[Curve("train/loss", (0, 10, 20), (3.0, 2.0, 1.0))],
        parameters={"train": {"learning_rate": 0.001, "model": {"points": 4096}}},
        versions={"torch": "2.13.0"},
    )


def test_the_report_stands_by_itself(content, tmp_path):
    path = write_report(tmp_path, content)
    page = path.read_text(encoding="utf-8")
    assert "http:" not in page
    assert "https:" not in page
    links = Links(page)
    files = [link for link in links.links if not link.startswith("#")]
    assert files
    for link in files:
        assert (tmp_path / link).stat().st_size > 0
    for anchor in set(links.links) - set(files):
        assert f'id="{anchor[1:]}"' in page
    assert links.images_without_text == 0
    assert links.open_tags == []


def test_the_report_says_what_it_must(content, tmp_path):
    page = write_report(tmp_path, content).read_text(encoding="utf-8")
    for text in (
        "Evaluation of &lt;sample&gt;",
        "<strong>CSIM is not available:</strong> the weights are not here",
        "the first source frame of the clip",
        "mean colour",
        "<code>NO_FACE</code> 1",
        "<code>DECODE_ERROR</code> 1",
        "0 of 90 frames &lt;show&gt; a face",
        "train/loss: from 3 at step 0 to 1 at step 20",
        "learning_rate",
        "4096",
        "2.13.0",
    ):
        assert text in page, text
    for result in content.results:
        assert result.clip_id in page
        assert f'src="media/{result.clip_id}/inspection.jpg"' in page
        assert f"What the shards hold of source frame {result.source_frame}" in page


def test_large_turns_have_a_table_of_their_own_or_are_said_to_be_none(content, speed, tmp_path):
    page = write_report(tmp_path, content).read_text(encoding="utf-8")
    assert "None: no driver's head yaw differs from its source frame's by 20° or more." in page
    assert "turned by 20° or more" not in page
    stage = make_stage(EvaluateConfig(panel_size=64), clips=SyntheticClips((0.0, 0.0, 21.0, 0.0, 45.0, 0.0)))
    (turning,) = stage(Entry())
    summary = summarise(EvaluateConfig(), INSTRUMENTS, [turning], speed)
    page = write_report(tmp_path, replace(content, results=[turning], summary=summary)).read_text(encoding="utf-8")
    assert "Mean over clips, all 5 frames" in page
    assert "Mean over clips, frames turned by 20° or more" in page
    assert "2 frames of 1 clip" in " ".join(page.split())
    assert "5 drivers, 2 large turns" in page
    assert "None:" not in page


def test_media_of_an_earlier_report_go(content, tmp_path):
    write_report(tmp_path, content)
    write_report(tmp_path, replace(content, results=content.results[:1]))
    assert [path.name for path in (tmp_path / "media").iterdir()] == [content.results[0].clip_id]


def test_empty_parts_are_stated(content, tmp_path):
    bare = replace(content, stages=(), curves=(), parameters={}, versions={})
    page = write_report(tmp_path, bare).read_text(encoding="utf-8")
    assert "The training left no curves" in page
    assert "No counts of the stages" in page
    assert "No parameters" in page
    assert "No versions" in page


def test_no_clip_is_an_error(content, tmp_path):
    with pytest.raises(StageError, match="no test clip to report on"):
        write_report(tmp_path, replace(content, results=()))
    assert not (tmp_path / "report.html").exists()


def test_the_best_of_each_column_is_marked_by_its_direction():
    figures = {
        "model": {"psnr": 30.0, "psnr_head": 20.0, "ssim": 0.9, "csim": None, "aed": 0.1, "apd": 2.0, "akd": 3.0},
        "copy_source": {"psnr": 20.0, "psnr_head": 25.0, "ssim": 0.8, "csim": None, "aed": 0.2, "apd": 1.0, "akd": 5.0},
        "mesh_warp": {"psnr": 29.9, "psnr_head": 25.001, "ssim": 0.7, "csim": None, "aed": 0.3, "apd": 3.0, "akd": 4.0},
    }
    others = {"ssim_head": 0.5, "csim_source": None}
    table = metric_table({method: values | others for method, values in figures.items()})
    marked = {method: [cell.is_best for cell in cells] for method, cells in table.items()}
    assert marked["model"] == [True, False, True, True, False, False, True, False, True]
    # 25.00 and 25.001 show as the same figure.
    assert marked["copy_source"] == [False, True, False, True, False, False, False, True, False]
    assert marked["mesh_warp"] == [False, True, False, True, False, False, False, False, False]
    assert table["model"][4].text == ""


def test_counts_that_do_not_add_up_are_refused():
    with pytest.raises(StageError, match="track: 5 videos went in, but 3 were kept and 1 rejected"):
        StageCounts("track", "videos", 5, 3, (NO_FACE,))


def test_reasons_are_counted_most_frequent_first():
    again = replace(NO_FACE, key="video-3")
    counts = StageCounts("track", "videos", 4, 1, (BROKEN, NO_FACE, again))
    assert counts.reasons == [(RejectReason.NO_FACE, 2), (RejectReason.DECODE_ERROR, 1)]


def test_rejects_are_read_from_parquet(tmp_path):
    path = tmp_path / "rejects.parquet"
    rows = [
        {"key": "video-2", "reason": "DECODE_ERROR", "detail": ""},
        {"key": "video-1", "reason": "NO_FACE", "detail": NO_FACE.detail},
    ]
    parquet.write_table(pa.Table.from_pylist(rows), path)
    assert read_rejects(path) == (NO_FACE, BROKEN)


@pytest.mark.parametrize("damage", ["missing", "not parquet", "unknown reason", "no column"])
def test_a_damaged_table_of_rejects_is_named(tmp_path, damage):
    path = tmp_path / "rejects.parquet"
    if damage == "not parquet":
        path.write_bytes(b"nonsense")
    elif damage == "unknown reason":
        parquet.write_table(pa.table({"key": ["a"], "reason": ["BAD_MOOD"], "detail": [""]}), path)
    elif damage == "no column":
        parquet.write_table(pa.table({"key": ["a"]}), path)
    with pytest.raises(StageError, match=r"rejects\.parquet: cannot be read"):
        read_rejects(path)


def test_curves_are_read_as_dvclive_writes_them(tmp_path):
    folder = tmp_path / "plots" / "metrics" / "train"
    folder.mkdir(parents=True)
    (folder / "loss.tsv").write_text("step\tloss\n0\t2.5\n10\tnan\n20\t1.5\n")
    (tmp_path / "plots" / "metrics" / "fps.tsv").write_text("timestamp\tstep\tfps\n17\t0\t30\n")
    assert read_curves(tmp_path) == (Curve("fps", (0,), (30.0,)), Curve("train/loss", (0, 20), (2.5, 1.5)))
    (folder / "loss.tsv").write_text("step\tother\n0\t2.5\n")
    with pytest.raises(StageError, match="expected DVCLive's columns 'step' and 'loss'"):
        read_curves(tmp_path)


def test_curves_are_read_from_json_lines_where_dvclive_was_not(tmp_path):
    lines = tmp_path / "metrics.jsonl"
    lines.write_text('{"step": 10, "loss/total": 2.5}\n{"step": 20, "loss/total": NaN, "fps": 30}\n')
    assert read_curves(tmp_path) == (Curve("fps", (20,), (30.0,)), Curve("loss/total", (10,), (2.5,)))
    for damaged in ("[1]\n", '{"loss/total": 2.5}\n', '{"step": 1, "loss/total": "low"}\n', "{"):
        lines.write_text(damaged)
        with pytest.raises(StageError, match=r"metrics\.jsonl: expected a JSON object with 'step' and numbers"):
            read_curves(tmp_path)


def test_the_last_image_of_the_training_is_that_of_the_highest_step(tmp_path):
    assert read_last_image(tmp_path) is None
    folder = tmp_path / "plots" / "images" / "val" / "pairs"
    folder.mkdir(parents=True)
    for step in ("000900", "999000", "1000000"):
        (folder / f"{step}.jpg").write_bytes(step.encode())
    assert read_last_image(tmp_path) == b"1000000"


def test_the_report_shows_the_last_image_of_the_training_if_there_is_one(content, tmp_path):
    page = write_report(tmp_path, content).read_text(encoding="utf-8")
    assert "media/training.jpg" not in page
    path = write_report(tmp_path, replace(content, training_image=b"pairs"))
    links = Links(path.read_text(encoding="utf-8"))
    assert "media/training.jpg" in links.links
    assert links.images_without_text == 0
    assert (tmp_path / "media" / "training.jpg").read_bytes() == b"pairs"


def test_a_curve_fills_its_chart_from_the_top_left_for_a_falling_loss():
    falling = Curve("loss", (0, 5, 10), (3.0, 2.0, 1.0))
    assert falling.svg_points == f"0.0,0.0 {CHART_WIDTH / 2:.1f},{CHART_HEIGHT / 2:.1f} {CHART_WIDTH},{CHART_HEIGHT}"


def test_a_long_curve_is_thinned_and_keeps_its_end():
    points = Curve("loss", tuple(range(5000)), tuple(float(-step) for step in range(5000))).svg_points.split()
    assert len(points) < 500
    assert points[-1] == f"{CHART_WIDTH},{CHART_HEIGHT}"
