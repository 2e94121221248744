"""Tests the table of the ablation: differences to the full method, and the agreement of signs with the paper."""

from typing import Any

import pytest

from mggtalk.evaluation.ablation import FULL, VARIANTS, markdown, tabulate
from mggtalk.evaluation.metrics import METRICS
from mggtalk.evaluation.results import METHODS


def metrics_file(turned: float | None = None, **of_model: float | None) -> dict[str, Any]:
    """Make the content of `metrics.json` for one variant; values default to a half."""
    base = dict.fromkeys(METRICS, 0.5)
    far = dict.fromkeys(METRICS, turned)
    return {
        "self": {method: {**base, **of_model} if method == "model" else base for method in METHODS},
        "self_large_turn": dict.fromkeys(METHODS, far),
        "counted": {
            "self": {"clips": 3, "frames": 30},
            "self_large_turn": {"clips": 2, "frames": 5} if turned else {"clips": 0, "frames": 0},
        },
        "detection_rate": {"driver": 1.0, **dict.fromkeys(METHODS, 0.9)},
    }


@pytest.fixture
def table() -> dict[str, Any]:
    evaluated = {
        "no_symmetry": metrics_file(psnr=24.5, psnr_head=21.0, aed=0.02, csim=None),
        FULL: metrics_file(psnr=25.0, psnr_head=20.0, aed=0.02, csim=None),
        "no_densification": metrics_file(psnr=24.0, psnr_head=18.0, aed=0.03, csim=None),
    }
    return tabulate(evaluated, VARIANTS)


def test_the_variants_are_the_full_method_and_one_switch_off_each():
    assert VARIANTS[0].name == FULL
    assert VARIANTS[0].overrides == {}
    for variant in VARIANTS[1:]:
        assert variant.overrides == {f"train.model.{variant.name.removeprefix('no_')}": False}
        assert variant.paper.psnr < VARIANTS[0].paper.psnr
        assert variant.paper.aed > VARIANTS[0].paper.aed


def test_rows_keep_the_order_of_the_variants_and_what_was_not_run_has_none(table):
    assert [row["variant"] for row in table["rows"]] == ["full", "no_symmetry", "no_densification"]


def test_differences_are_to_the_full_method(table):
    full, no_symmetry, _ = table["rows"]
    assert full["difference"] == full["agrees"] == {}
    assert no_symmetry["difference"]["self"]["psnr"] == -0.5
    assert no_symmetry["difference"]["self"]["csim"] is None
    assert no_symmetry["paper_difference"] == {"psnr": -1.16, "fid": 1.28, "aed": 0.01}


def test_signs_are_compared_with_the_paper_s_row(table):
    _, no_symmetry, no_densification = table["rows"]
    assert no_symmetry["agrees"]["self"] == {"psnr": True, "psnr_head": False, "aed": False}  # no difference is no sign
    assert no_densification["agrees"]["self"] == {"psnr": True, "psnr_head": True, "aed": True}
    assert table["agreement"]["self"]["psnr"] == {"agree": 2, "rows": 2}
    assert table["agreement"]["self"]["psnr_head"] == {"agree": 1, "rows": 2}
    assert table["agreement"]["self_large_turn"]["psnr"] == {"agree": 0, "rows": 0}  # there are no such frames


def test_the_page_shows_figures_differences_signs_and_the_paper(table):
    lines = markdown(table).splitlines()
    assert "30 frames of 3 clips." in lines
    assert lines[lines.index("## Large turns") + 2] == "None: there is no such frame."
    (full,) = [line for line in lines if line.startswith("| full ")]
    assert full.startswith("| full | 25.00 | 20.00 |")
    assert full.endswith("| 32.40 | 0.102 |")
    (row,) = [line for line in lines if line.startswith("| no_symmetry ")]
    assert row.startswith("| no_symmetry | 24.50 (-0.50 ✓) | 21.00 (+1.00 ✗) |")
    assert row.endswith("| 31.24 (-1.16) | 0.112 (+0.010) |")
    assert "| n/a |" in row
    assert "Rows with the paper's sign: PSNR 2 of 2, PSNR head 1 of 2, AED 1 of 2." in lines


def test_large_turns_have_a_table_of_their_own():
    evaluated = {FULL: metrics_file(turned=20.0), "no_symmetry": metrics_file(turned=19.0)}
    page = markdown(tabulate(evaluated, VARIANTS))
    assert "5 frames of 2 clips." in page
    assert "| no_symmetry | 19.00 (-1.00 ✓) |" in page


def test_without_the_full_method_there_is_nothing_to_compare_with():
    table = tabulate({"no_symmetry": metrics_file(psnr=24.5)}, VARIANTS)
    assert table["rows"][0]["difference"] == {}
    assert "| no_symmetry | 24.50 |" in markdown(table)
