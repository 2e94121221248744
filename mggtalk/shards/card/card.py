"""Writes `CARD.md` and `card.json`: contents of the data set, how it was made, and the inputs that were left out.

The same inputs give the same bytes: no times, no host names, nothing that differs between two runs.
"""

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import yaml

from mggtalk.files import atomic_write
from mggtalk.records import AudioState, Split
from mggtalk.shards.card.examples import EXAMPLES
from mggtalk.shards.index import SampleRow
from mggtalk.shards.schema import SCHEMA_VERSION

CARD_JSON = "card.json"
CARD_TEXT = "CARD.md"

# The text of `card.md.j2` is part of the format: `verify` renders the card of every data set again and compares bytes.
_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=jinja2.select_autoescape(),  # HTML only: this is Markdown
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_SECONDS_PER_HOUR = 3600
_SIZE_CATEGORIES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass(frozen=True, slots=True)
class CardContext:
    """The part of the card that does not follow from the index.

    Attributes:
        name: the data set's name. description: a sentence or two for people.
        examples: SHA-256 of `examples.jpg`; empty if there is none.
        protocol: the metric protocol, as `protocol.shards_protocol` returns it.
        parameters: the stage's group of `params.yaml`. models: SHA-256 by model name.
        code: digest of the stage's own code. tools: version by package. rejects: number of rejected inputs by reason.
    """

    name: str
    description: str = ""
    examples: str = ""
    protocol: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    code: str = ""
    tools: Mapping[str, str] = field(default_factory=dict)
    rejects: Mapping[str, int] = field(default_factory=dict)


def write_card(directory: Path, rows: Iterable[SampleRow], context: CardContext) -> None:
    """Write `CARD.md` (with the front matter of Hugging Face data-set cards) and `card.json` into `directory`."""
    summary = summarise(rows, context)
    atomic_write(directory / CARD_JSON, dump_card(summary))
    atomic_write(directory / CARD_TEXT, render_card(summary).encode())


def dump_card(summary: Mapping[str, Any]) -> bytes:
    """Return the bytes of `card.json`."""
    return f"{json.dumps(summary, indent=2, sort_keys=True, ensure_ascii=False)}\n".encode()


def summarise(rows: Iterable[SampleRow], context: CardContext) -> dict[str, Any]:
    """Return the content of `card.json`."""
    rows = sorted(rows, key=lambda row: row.key)
    by_split, by_license = defaultdict(list), defaultdict(list)
    for row in rows:
        by_split[row.split].append(row)
        by_license[row.license].append(row)
    return {
        "schema_version": SCHEMA_VERSION,
        "name": context.name,
        "description": context.description,
        "total": _count(rows),
        "splits": {str(split): _count(by_split[split]) for split in Split},
        "licenses": {name: _count(members) for name, members in by_license.items()},
        "sound": {str(state): _audio_summary([row for row in rows if row.audio is state]) for state in AudioState},
        "examples": context.examples,
        "protocol": dict(context.protocol),
        "rejects": {str(reason): count for reason, count in context.rejects.items()},
        "parameters": dict(context.parameters),
        "models": dict(context.models),
        "code": context.code,
        "tools": dict(context.tools),
    }


def render_card(summary: Mapping[str, Any]) -> str:
    """Return `CARD.md` for the content of a `card.json`."""
    splits = {name: counts for name, counts in summary["splits"].items() if counts["samples"]}
    front_matter = {
        "pretty_name": summary["name"],
        # The Hub's identifiers are the SPDX names in lower case.
        "license": sorted(name.lower() for name in summary["licenses"]) or ["unknown"],
        "task_categories": ["image-to-video"],
        "tags": ["talking-head", "webdataset", "mggtalk"],
        "size_categories": [_size_category(summary["total"]["samples"])],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": name, "path": f"{name}/*.tar"} for name in splits],
            }
        ],
    }
    template = _ENVIRONMENT.get_template("card.md.j2")
    return template.render(
        front_matter=yaml.safe_dump(front_matter, sort_keys=False, allow_unicode=True),
        parameters=yaml.safe_dump(summary["parameters"], allow_unicode=True),
        protocol=yaml.safe_dump(summary["protocol"], allow_unicode=True, width=1000) if summary["protocol"] else "",
        examples=EXAMPLES if summary["examples"] else "",
        **{name: value for name, value in summary.items() if name not in {"parameters", "protocol", "examples"}},
    )


def _count(rows: list[SampleRow]) -> dict[str, Any]:
    return {
        "identities": len({row.identity for row in rows}),
        "videos": len({row.video_id for row in rows}),
        "clips": len({row.clip_id for row in rows}),
        "samples": len(rows),
        "frames": sum(row.num_frames for row in rows),
        "source_frames": sum(len(row.source_frames) for row in rows),
        "hours": round(sum(row.num_frames / row.fps for row in rows) / _SECONDS_PER_HOUR, 4),
        "shards": len({row.shard for row in rows}),
        "bytes": sum(row.size_bytes for row in rows),
    }


def _audio_summary(rows: list[SampleRow]) -> dict[str, Any]:
    """Return number of clips, hours and loudness (least, median and most dBFS of a clip) of samples."""
    power: defaultdict[str, float] = defaultdict(float)
    frames: defaultdict[str, int] = defaultdict(int)
    for row in rows:
        power[row.clip_id] += row.num_frames * (0.0 if row.audio_dbfs is None else 10 ** (row.audio_dbfs / 10))
        frames[row.clip_id] += row.num_frames
    levels = [round(10 * math.log10(power[clip] / frames[clip]), 1) for clip in frames if power[clip]]
    return {
        "clips": len(frames),
        "hours": _count(rows)["hours"],
        "dbfs": [min(levels), round(statistics.median(levels), 1), max(levels)] if levels else None,
    }


def _size_category(samples: int) -> str:
    return next((name for limit, name in _SIZE_CATEGORIES if samples < limit), "n>1M")
