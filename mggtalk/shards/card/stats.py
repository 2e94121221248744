"""Summarises counts and quality of a data set from its index alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from mggtalk.errors import ShardError
from mggtalk.records import AudioState, Split
from mggtalk.shards.card.card import CardContext, summarise
from mggtalk.shards.index import SampleRow
from mggtalk.shards.schema import INDEX_NAME

_MEMBERS = ("member_names", "member_offsets", "member_sizes", "member_crc32")
_QUALITY = {"face_size": "mean_face_size", "sharpness": "mean_sharpness"}
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def light_rows(table: pa.Table) -> list[SampleRow]:
    """Return the rows of an index table without their members, which make up most of a row.

    Raises:
        ShardError: the table is damaged: text that does not decode, an unknown split or audio state, a missing value.
    """
    try:
        return _light_rows(table)
    except (ValueError, TypeError) as cause:
        raise ShardError(f"{INDEX_NAME}: damaged: {cause}") from None


def _light_rows(table: pa.Table) -> list[SampleRow]:
    empty: Mapping[str, Any] = dict.fromkeys(_MEMBERS, ())
    rows = table.drop_columns(list(_MEMBERS)).to_pylist()
    return [
        SampleRow(
            **{
                **row,
                **empty,
                "split": Split(row["split"]),
                "audio": AudioState(row["audio"]),
                "source_frames": tuple(row["source_frames"]),
            }
        )
        for row in rows
    ]


def statistics(table: pa.Table) -> dict[str, Any]:
    """Return counts and quality of an index table, as plain values.

    `total`, `splits`, `licenses` and `sound` are as in `card.json`. `quality` has quantiles over samples, for the whole
    and for each split that has samples: `face_size` in pixels of the video frame, `sharpness` as in `tracks.npz`.
    """
    rows = light_rows(table)
    summary = summarise(rows, CardContext(""))
    parts = {"total": rows} | {str(split): [row for row in rows if row.split is split] for split in Split}
    return {
        **{name: summary[name] for name in ("total", "splits", "licenses", "sound")},
        "quality": {
            part: {name: _quantiles([getattr(row, column) for row in members]) for name, column in _QUALITY.items()}
            for part, members in parts.items()
            if members
        },
    }


def _quantiles(values: list[float]) -> dict[str, float]:
    found = np.quantile(np.array(values), _QUANTILES)
    return {f"{100 * q:g}%": round(float(value), 2) for q, value in zip(_QUANTILES, found, strict=True)}
