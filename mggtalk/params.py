"""Reads one group of `params.yaml` strictly into the configuration class of a stage.

Each component owns its configuration: a frozen dataclass made with `@config`. Unknown keys, missing keys and wrong
types are errors that name the key. Pydantic does the checking; nothing else of it is used.
"""

from pathlib import Path
from typing import Any, TypeVar, cast, dataclass_transform

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic_core import to_json

from mggtalk.errors import ParamsError

ConfigT = TypeVar("ConfigT")


@dataclass_transform(frozen_default=True)
def config(cls: type[ConfigT]) -> type[ConfigT]:
    """Make `cls` a frozen dataclass that refuses unknown keys and wrong types."""
    made: Any = pydantic_dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))(cls)
    return cast("type[ConfigT]", made)


def load_yaml_mapping(path: Path, error: type[Exception]) -> dict[str, Any]:
    """Return the YAML mapping in `path`.

    Raises:
        error: the file is missing, is not valid YAML, or holds no mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as cause:
        raise error(f"{path}: cannot be read as YAML: {' '.join(str(cause).split())}") from cause
    if not isinstance(content, dict):
        raise error(f"{path}: expected a mapping of keys, got {type(content).__name__}")
    return content


def validate(values: object, cls: type[ConfigT], where: str, error: type[Exception] = ParamsError) -> ConfigT:
    """Return `values` (plain YAML content) as an instance of the config class `cls`.

    Args:
        where: what to call the content in messages, such as `params.yaml: track`.

    Raises:
        error: one line that names every key at fault, what it got and what was expected.
    """
    try:
        return TypeAdapter(cls).validate_json(to_json(values, fallback=str), strict=True)
    except ValidationError as cause:
        faults = [_describe(fault, where) for fault in cause.errors(include_url=False)]
        raise error("; ".join(faults)) from None


def load_group(path: Path, group: str, cls: type[ConfigT]) -> ConfigT:
    """Return the group `group` of the params file as `cls`.

    Raises:
        ParamsError: the file or the group is missing, or the group does not fit `cls`.
    """
    content = load_yaml_mapping(path, ParamsError)
    if group not in content:
        raise ParamsError(f"{path}: no group {group!r}; groups there: {', '.join(map(str, content)) or 'none'}")
    return validate(content[group], cls, where=f"{path}: {group}")


def _describe(fault: Any, where: str) -> str:
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        return f"{where}: unknown key {key!r}"
    if fault["type"] in {"missing", "missing_argument", "missing_keyword_only_argument"}:
        return f"{where}: missing key {key!r}"
    return f"{where}{'.' + key if key else ''}: {fault['msg']}, got {fault['input']!r}"
