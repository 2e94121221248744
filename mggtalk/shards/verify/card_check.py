"""Checks `card.json` and `CARD.md`: the counts follow from the index, and `CARD.md` follows from `card.json`."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import fields
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from mggtalk.config import validate
from mggtalk.errors import ShardError
from mggtalk.shards.card.card import CARD_JSON, CARD_TEXT, CardContext, dump_card, render_card, summarise
from mggtalk.shards.index import SampleRow
from mggtalk.shards.verify.issues import Issue


def read_card(root: Path) -> dict[str, Any]:
    """Return the content of `card.json`.

    Raises:
        ShardError: missing, or no JSON object.
    """
    path = root / CARD_JSON
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ShardError(f"{path}: no such file") from None
    except (OSError, ValueError) as cause:
        raise ShardError(f"{path}: cannot be read as JSON: {cause}") from None
    if not isinstance(content, dict):
        raise ShardError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def check_card(root: Path, rows: Sequence[SampleRow]) -> list[Issue]:
    """Return the issues of the two files of the card.

    Args:
        rows: of the index; their members are not read.
    """
    try:
        content = read_card(root)
        names = [field.name for field in fields(CardContext)]
        given = {name: content[name] for name in names if name in content}
        context = validate(given, CardContext, CARD_JSON, ShardError)
    except ShardError as error:
        return [Issue(CARD_JSON, str(error))]
    expected = summarise(rows, context)
    issues = [
        Issue(CARD_JSON, f"{key}: not what the index gives", expected=wanted, got=got)
        for key, wanted, got in _differences(json.loads(dump_card(expected)), content, "")
    ]
    if not issues and (root / CARD_JSON).read_bytes() != dump_card(expected):
        issues.append(Issue(CARD_JSON, "not as it is written: sorted keys, two spaces"))
    return issues + _check_text(root / CARD_TEXT, render_card(expected))


def _check_text(path: Path, expected: str) -> list[Issue]:
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        return [Issue(CARD_TEXT, "missing")]
    except (OSError, UnicodeDecodeError) as cause:
        return [Issue(CARD_TEXT, f"cannot be read: {cause}")]
    got, wanted = text.split("\n"), expected.split("\n")
    what = f"not what {CARD_JSON} and the index give"
    changes = SequenceMatcher(None, got, wanted, autojunk=False).get_opcodes()
    return [
        Issue(
            CARD_TEXT,
            f"line {got_from + 1}: {what}",
            expected=repr("\n".join(wanted[wanted_from:wanted_to])),
            got=repr("\n".join(got[got_from:got_to])),
        )
        for kind, got_from, got_to, wanted_from, wanted_to in changes
        if kind != "equal"
    ]


def _differences(expected: Any, got: Any, key: str) -> Iterator[tuple[str, str, str]]:
    """Yield key, expected and got value of every leaf that differs between two JSON documents."""
    if isinstance(expected, dict) and isinstance(got, dict):
        for name in sorted({*expected, *got}):
            inner = f"{key}.{name}" if key else name
            if name in expected and name in got:
                yield from _differences(expected[name], got[name], inner)
            else:
                yield inner, _shown(expected, name), _shown(got, name)
    elif expected != got:
        yield key, repr(expected), repr(got)


def _shown(mapping: dict[str, Any], name: str) -> str:
    return repr(mapping[name]) if name in mapping else "nothing"
