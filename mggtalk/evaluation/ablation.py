"""Tabulates the ablation beside the paper's: the effect of each idea of the method.

A variant is the full method with one switch of `train.model` off. Models are trained with one budget on the same pairs
and evaluated under one protocol, once over all pairs and once over large turns. The sign of each difference to the full
method should agree with the paper, not its size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mggtalk.evaluation.metrics import METRICS
from mggtalk.evaluation.report.html import COLUMNS
from mggtalk.evaluation.results import MODEL
from mggtalk.evaluation.summary import DECIMALS

FULL = "full"
GROUPS: Mapping[str, str] = {"self": "All pairs", "self_large_turn": "Large turns"}
_SHOWN_COLUMNS = tuple(column for column in COLUMNS if column.key != "akd")
# Our metric -> the paper's column that its sign is compared with; FID has no counterpart here.
COMPARED = {"psnr": "psnr", "psnr_head": "psnr", "aed": "aed"}
_LEGEND = (
    "In brackets: the difference to the full method; ✓ where its sign is that of the paper's row, ✗ where it is not.",
    "AED, APD and CSIM count frames in which a face was found: compare them only at equal detection rates.",
    "Paper: as reported for HDTF, with other crops and masks: compare signs, not values.",
)


@dataclass(frozen=True, slots=True)
class PaperRow:
    """A row of the paper's table, on HDTF: PSNR in dB, FID, AED."""

    psnr: float
    fid: float
    aed: float


@dataclass(frozen=True, slots=True)
class Variant:
    """A model to train and evaluate.

    Attributes:
        overrides: parameters that differ from the full method, by dotted key.
        paper: the paper's figures for it.
    """

    name: str
    overrides: Mapping[str, Any]
    paper: PaperRow


def _without(switch: str, paper: PaperRow) -> Variant:
    return Variant(f"no_{switch}", {f"train.model.{switch}": False}, paper)


# Source: MGGTalk (arXiv 2504.00665), ablation table, self-reenactment on HDTF.
VARIANTS = (
    Variant(FULL, {}, PaperRow(32.40, 18.95, 0.102)),
    _without("geometry_refinement", PaperRow(29.98, 24.82, 0.157)),
    _without("symmetry", PaperRow(31.24, 20.23, 0.112)),
    _without("voxel_filter", PaperRow(29.56, 27.42, 0.148)),
    _without("symmetric_decoder", PaperRow(32.12, 19.74, 0.116)),
    _without("densification", PaperRow(30.32, 21.58, 0.138)),
)


def tabulate(evaluated: Mapping[str, Mapping[str, Any]], variants: Sequence[Variant]) -> dict[str, Any]:
    """Tabulate figures, their differences to the full method and the agreement of signs with the paper.

    Args:
        evaluated: name of a variant -> content of its `metrics.json`, all under one protocol.
        variants: all variants, the full method first; rows keep their order, and those not evaluated are left out.
    """
    present = [variant for variant in variants if variant.name in evaluated]
    full = evaluated.get(FULL)
    rows = [_row(variant, evaluated[variant.name], full, variants[0].paper) for variant in present]
    return {
        "counted": evaluated[present[0].name]["counted"] if present else {},
        "rows": rows,
        "agreement": {group: _agreement(rows, group) for group in GROUPS},
    }


def markdown(table: Mapping[str, Any]) -> str:
    """Format the result of `tabulate` as one Markdown table for each group of pairs."""
    return "\n".join([*(_markdown_group(table, group) for group in GROUPS), *_LEGEND, ""])


def _row(
    variant: Variant, metrics: Mapping[str, Any], full: Mapping[str, Any] | None, paper_full: PaperRow
) -> dict[str, Any]:
    compared = full if variant.name != FULL else None
    paper, paper_base = asdict(variant.paper), asdict(paper_full)
    paper_difference = {name: round(paper[name] - paper_base[name], DECIMALS) for name in paper}
    difference = {
        group: _differences(metrics[group][MODEL], compared[group][MODEL]) for group in GROUPS if compared is not None
    }
    return {
        "variant": variant.name,
        "overrides": dict(variant.overrides),
        "figures": {group: metrics[group][MODEL] for group in GROUPS},
        "difference": difference,
        "agrees": {group: _agreeing(values, paper_difference) for group, values in difference.items()},
        "paper": paper,
        "paper_difference": paper_difference,
        "detection_rate": metrics["detection_rate"][MODEL],
    }


def _differences(ours: Mapping[str, float | None], base: Mapping[str, float | None]) -> dict[str, float | None]:
    pairs = {metric: (ours[metric], base[metric]) for metric in METRICS}
    return {
        metric: None if value is None or full is None else round(value - full, DECIMALS)
        for metric, (value, full) in pairs.items()
    }


def _agreeing(difference: Mapping[str, float | None], paper_difference: Mapping[str, float]) -> dict[str, bool | None]:
    return {
        metric: None if (value := difference[metric]) is None else value * paper_difference[column] > 0
        for metric, column in COMPARED.items()
    }


def _agreement(rows: Sequence[Mapping[str, Any]], group: str) -> dict[str, dict[str, int]]:
    """Count, for each compared metric, the rows with the figure and those of them with the paper's sign."""
    signs = [row["agrees"][group] for row in rows if group in row["agrees"]]
    known = {metric: [sign[metric] for sign in signs if sign[metric] is not None] for metric in COMPARED}
    return {metric: {"agree": sum(values), "rows": len(values)} for metric, values in known.items()}


def _markdown_group(table: Mapping[str, Any], group: str) -> str:
    counted = table["counted"].get(group, {"frames": 0, "clips": 0})
    lines = [f"## {GROUPS[group]}", ""]
    if not counted["frames"]:
        return "\n".join([*lines, "None: there is no such frame.", ""])
    heads = [f"{column.name} {'↑' if column.higher_is_better else '↓'}" for column in _SHOWN_COLUMNS]
    header = ["variant", *heads, "face found", "paper PSNR ↑", "paper AED ↓"]
    lines += [
        f"{counted['frames']} frames of {counted['clips']} clips.",
        "",
        _line(header),
        _line(["---"] * len(header)),
    ]
    lines += [_line(_cells(row, group)) for row in table["rows"]]
    agreement = table["agreement"][group]
    signs = ", ".join(
        f"{column.name} {agreement[column.key]['agree']} of {agreement[column.key]['rows']}"
        for column in _SHOWN_COLUMNS
        if column.key in COMPARED
    )
    return "\n".join([*lines, "", f"Rows with the paper's sign: {signs}.", ""])


def _cells(row: Mapping[str, Any], group: str) -> list[str]:
    figures, difference, agrees = row["figures"][group], row["difference"].get(group, {}), row["agrees"].get(group, {})
    ours = [
        _cell(figures[column.key], difference.get(column.key), agrees.get(column.key), column.decimals)
        for column in _SHOWN_COLUMNS
    ]
    is_full = not row["difference"] and not any(row["paper_difference"].values())
    paper = [
        _cell(row["paper"][name], None if is_full else row["paper_difference"][name], None, decimals)
        for name, decimals in (("psnr", 2), ("aed", 3))
    ]
    return [row["variant"], *ours, f"{row['detection_rate']:.0%}", *paper]


def _cell(value: float | None, difference: float | None, agrees: bool | None, decimals: int) -> str:
    if value is None:
        return "n/a"
    mark = "" if agrees is None else " ✓" if agrees else " ✗"
    return f"{value:.{decimals}f}" + ("" if difference is None else f" ({difference:+.{decimals}f}{mark})")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
