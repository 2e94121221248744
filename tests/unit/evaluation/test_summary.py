import csv
import json
from dataclasses import replace

import pytest

from mggtalk.errors import StageError
from mggtalk.evaluation.config import EvaluateConfig
from mggtalk.evaluation.metrics import METRICS, FrameScores
from mggtalk.evaluation.results import DRIVER, METHODS, DrivenFrame
from mggtalk.evaluation.summary import Instruments, clip_mean, summarise, write_metrics
from mggtalk.perception.identity import IdentityUnavailable

NAN = float("nan")
INSTRUMENTS = Instruments(64, "mean colour", IdentityUnavailable("the weights are not here"))


def read_rows(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


@pytest.fixture
def result_of(clip_result):
    """Build clip results with given values of one metric, the same for every method unless a method's are given."""

    def build(clip_id, metric, values, turns=None, **of_method):
        base = dict.fromkeys(METRICS, 0.5)
        driven = tuple(
            DrivenFrame(
                source_frame=1,
                frame=index,
                turn_deg=turns[index] if turns else 0.0,
                scores={
                    method: FrameScores(**{**base, metric: of_method.get(method, values)[index]}) for method in METHODS
                },
                detected=dict.fromkeys((DRIVER, *METHODS), True),
            )
            for index in range(len(values))
        )
        return replace(clip_result, clip_id=clip_id, driven=driven)

    return build


def test_means_are_over_frames_then_over_clips(result_of, speed):
    results = [result_of("b", "psnr", [10.0]), result_of("a", "psnr", [20.0, 30.0, 40.0])]
    summary = summarise(EvaluateConfig(), INSTRUMENTS, results, speed)
    assert summary["self"]["model"]["psnr"] == 20.0
    assert summary["protocol"]["clips"] == ["a", "b"]


def test_a_frame_counts_only_where_every_method_has_the_value(result_of):
    result = result_of("a", "aed", [0.1, 0.2, 0.6], mesh_warp=[0.3, NAN, 0.5])
    assert clip_mean(result.driven, "model", "aed") == pytest.approx((0.1 + 0.6) / 2)
    assert clip_mean(result.driven, "mesh_warp", "aed") == pytest.approx(0.4)


def test_large_turns_are_averaged_apart(result_of, speed):
    results = [
        result_of("a", "psnr", [10.0, 20.0, 40.0], turns=[0.0, 25.0, 20.0]),
        result_of("b", "psnr", [50.0], turns=[30.0]),
        result_of("c", "psnr", [70.0], turns=[19.9]),
    ]
    further = result_of("", "psnr", [60.0], turns=[45.0]).driven
    results[0] = replace(results[0], driven_far=further)
    summary = summarise(EvaluateConfig(large_turn_deg=20.0), INSTRUMENTS, results, speed)
    assert summary["self_large_turn"]["model"]["psnr"] == ((20 + 40 + 60) / 3 + 50) / 2
    assert summary["self"]["model"]["psnr"] == pytest.approx((70 / 3 + 50 + 70) / 3, abs=1e-6)  # not of further sources
    assert summary["counted"] == {"self": {"clips": 3, "frames": 5}, "self_large_turn": {"clips": 2, "frames": 4}}


def test_where_no_frame_is_turned_there_is_no_figure(result_of, speed):
    summary = summarise(EvaluateConfig(), INSTRUMENTS, [result_of("a", "psnr", [10.0])], speed)
    assert summary["counted"]["self_large_turn"] == {"clips": 0, "frames": 0}
    assert set(summary["self_large_turn"]["model"].values()) == {None}


def test_a_clip_without_a_common_frame_does_not_pull_the_mean(result_of, speed):
    results = [result_of("a", "apd", [2.0]), result_of("b", "apd", [7.0], model=[NAN])]
    summary = summarise(EvaluateConfig(), INSTRUMENTS, results, speed)
    assert {summary["self"][method]["apd"] for method in METHODS} == {2.0}


def test_a_metric_without_weights_is_null_with_its_reason(clip_result, speed):
    summary = summarise(EvaluateConfig(), INSTRUMENTS, [clip_result], speed)
    assert [summary["self"][method]["csim"] for method in METHODS] == [None, None, None]
    assert summary["unavailable"] == dict.fromkeys(("csim", "csim_source"), "the weights are not here")
    assert summary["protocol"]["identity_encoder"] is None


def test_a_metric_without_faces_is_null_with_its_reason(result_of, speed):
    summary = summarise(EvaluateConfig(), INSTRUMENTS, [result_of("a", "akd", [NAN, NAN])], speed)
    assert summary["self"]["model"]["akd"] is None
    assert "no frame in which a face was found" in summary["unavailable"]["akd"]


def test_the_schema_of_the_metrics_file(clip_result, speed, tmp_path):
    instruments = Instruments(64, "mean colour", "an encoder")
    write_metrics(tmp_path, summarise(EvaluateConfig(), instruments, [clip_result], speed), [clip_result])
    content = json.loads((tmp_path / "metrics.json").read_text())
    groups = {"self", "self_large_turn"}
    assert {"protocol", "speed", "unavailable", "detection_rate", "counted"} | groups == set(content)
    assert set(content["counted"]) == groups
    for group in groups:
        assert set(content[group]) == {"model", "copy_source", "mesh_warp"}
        for figures in content[group].values():
            assert set(figures) == set(METRICS)
    protocol = content["protocol"]
    named = {"resolution", "mask", "source_frame", "frames", "measurer", "identity_encoder", "split", "clips"}
    named |= {"large_turn"}
    assert named < set(protocol)
    assert (protocol["version"], protocol["split"], protocol["resolution"]) == (2, "test", 64)
    assert protocol["identity_encoder"] == "an encoder"
    timing = {"reconstruct_ms", "animate_render_fps", "num_gaussians", "resolution", "batch", "device", "threads"}
    assert set(content["speed"]) == timing
    assert content["detection_rate"] == dict.fromkeys(("driver", *METHODS), 1.0)


def test_the_files_are_the_same_bytes_whatever_the_order_of_the_clips(result_of, speed, tmp_path):
    results = [result_of("a", "psnr", [1.1, 2.2]), result_of("b", "psnr", [3.3]), result_of("c", "psnr", [0.7])]
    for folder, ordered in (("one", results), ("two", results[::-1])):
        write_metrics(tmp_path / folder, summarise(EvaluateConfig(), INSTRUMENTS, ordered, speed), ordered)
    for name in ("metrics.json", "plots/psnr_head.csv", "plots/methods.csv", "plots/psnr_by_turn.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_plots_hold_a_row_a_frame_and_a_row_a_method(clip_result, speed, tmp_path):
    summary = summarise(EvaluateConfig(), INSTRUMENTS, [clip_result], speed)
    write_metrics(tmp_path, summary, [clip_result])
    frames = read_rows(tmp_path / "plots/psnr_head.csv")
    assert len(frames) == 3 * len(clip_result.frames)
    warped = [row for row in frames if row["method"] == "mesh_warp"]
    assert [int(row["frame"]) for row in warped] == list(clip_result.frames)
    expected = [driven.scores["mesh_warp"].psnr_head for driven in clip_result.driven]
    assert [float(row["psnr_head"]) for row in warped] == pytest.approx(expected, abs=1e-6)
    methods = {row["method"]: row for row in read_rows(tmp_path / "plots/methods.csv")}
    assert float(methods["copy_source"]["psnr"]) == summary["self"]["copy_source"]["psnr"]
    assert methods["model"]["csim"] == ""


def test_the_plot_of_turns_holds_further_sources_too(result_of, speed, tmp_path):
    result = result_of("a", "psnr_head", [10.0], turns=[5.0])
    (far,) = result_of("a", "psnr_head", [20.0], turns=[40.0]).driven
    result = replace(result, driven_far=(replace(far, source_frame=7),))
    write_metrics(tmp_path, summarise(EvaluateConfig(), INSTRUMENTS, [result], speed), [result])
    rows = [row for row in read_rows(tmp_path / "plots/psnr_by_turn.csv") if row["method"] == "model"]
    assert [(row["source"], float(row["turn_deg"]), float(row["psnr_head"])) for row in rows] == [
        ("1", 5.0, 10.0),
        ("7", 40.0, 20.0),
    ]
    assert len(read_rows(tmp_path / "plots/psnr_head.csv")) == len(METHODS)


def test_no_clip_is_an_error(speed):
    with pytest.raises(StageError, match="no clip of split 'test' could be scored"):
        summarise(EvaluateConfig(), INSTRUMENTS, [], speed)
