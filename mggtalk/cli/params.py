"""`mggtalk params`: the parameters that hold, and where each value comes from."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from mggtalk.config import field_docs
from mggtalk.params import Params, config_class

_ORIGIN_COLUMN = 44


def print_params(params: Params, group: str | None = None, *, explains: bool = False) -> None:
    """Print all groups, or one, as they hold.

    Args:
        explains: print the meaning of each key above it.

    Raises:
        ParamsError: a group does not fit its class.
    """
    values = params.resolved()
    for name in [group] if group else values:
        docs = group_docs(name) if explains else {}
        origins = {key: params.origin(key) for key in group_docs(name)}
        print("\n".join(yaml_lines({name: values[name]}, docs, origins)))


def group_docs(group: str) -> dict[str, str]:
    """Return the meaning of every key of a group, by dotted keys that begin with it."""
    return {f"{group}.{key}": doc for key, doc in field_docs(config_class(group)).items()}


def yaml_lines(
    values: Mapping[str, Any], above: Mapping[str, str], beside: Mapping[str, str], prefix: str = ""
) -> Iterator[str]:
    """Yield the lines of a YAML document.

    Args:
        values: nested mappings down to scalars and lists.
        above: comments in the line before, by dotted keys. beside: comments after a value.
        prefix: dotted key of `values`, with a dot at the end.
    """
    indent = "  " * prefix.count(".")
    for name, value in values.items():
        key = f"{prefix}{name}"
        if key in above:
            yield f"{indent}# {above[key]}"
        if isinstance(value, Mapping):
            yield f"{indent}{name}:"
            yield from yaml_lines(value, above, beside, f"{key}.")
        else:
            line = f"{indent}{name}: {_scalar(value)}"
            yield f"{line:{_ORIGIN_COLUMN}}  # {beside[key]}" if key in beside else line


def _scalar(value: object) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=1_000_000)
    return text.removesuffix("...\n").rstrip()
