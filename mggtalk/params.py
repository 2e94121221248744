"""Reads one group of `params.yaml` strictly into the configuration class of a stage.

Each component owns its configuration: a frozen dataclass made with `@config`. Unknown keys, missing keys and wrong
types are errors that name the key, as is a key that stands twice. Pydantic checks; nothing else of it is used.
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast, dataclass_transform

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic_core import to_json

from mggtalk.errors import ParamsError

ConfigT = TypeVar("ConfigT")

GROUPS = ("ingest", "track", "shards", "train", "evaluate")
"""The groups of `params.yaml`, one a stage."""


@dataclass_transform(frozen_default=True)
def config(cls: type[ConfigT]) -> type[ConfigT]:
    """Make `cls` a frozen dataclass that refuses unknown keys and wrong types."""
    made: Any = pydantic_dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))(
        cls
    )
    return cast("type[ConfigT]", made)


def load_yaml_mapping(path: Path, error: type[Exception]) -> dict[str, Any]:
    """Return the YAML mapping in `path`.

    Raises:
        error: the file is missing, is not valid YAML, or holds no mapping.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _StrictLoader)  # noqa: S506  a SafeLoader
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
        plain = to_json(values, fallback=str)
    except ValueError as cause:  # an anchor that contains itself
        raise error(f"{where}: no plain values: {' '.join(str(cause).split())}") from None
    try:
        return TypeAdapter(cls).validate_json(plain, strict=True)
    except ValidationError as cause:
        faults = [_describe(fault, where) for fault in cause.errors(include_url=False)]
        raise error("; ".join(faults)) from None


def load_group(path: Path, group: str, cls: type[ConfigT]) -> ConfigT:
    """Return the group `group` of the params file as `cls`.

    Raises:
        ParamsError: the file or the group is missing, or the group does not fit `cls`.
    """
    return read_group(load_yaml_mapping(path, ParamsError), group, cls, where=str(path))


def read_group(content: Mapping[str, Any], group: str, cls: type[ConfigT], where: str) -> ConfigT:
    """Return the group `group` of the params in `content` as `cls`; `where` is what messages call the params.

    Raises:
        ParamsError: as `load_group`.
    """
    if strangers := set(content) - {*GROUPS, group}:
        raise ParamsError(f"{where}: unknown key {', '.join(repr(name) for name in sorted(map(str, strangers)))}")
    if group not in content:
        raise ParamsError(f"{where}: no group {group!r}; groups there: {', '.join(map(str, content)) or 'none'}")
    return validate(content[group], cls, where=f"{where}: {group}")


def parse_override(text: str) -> tuple[str, Any]:
    """Return what `KEY=VALUE` on a command line says, such as `train.steps=200`; the value is read as YAML.

    Raises:
        ParamsError: it is not of this form.
    """
    key, equals, value = text.partition("=")
    if not (equals and all(key.split("."))):
        raise ParamsError(f"override: expected KEY=VALUE, such as train.steps=200, got {text!r}")
    try:
        return key, yaml.load(value, _StrictLoader)  # noqa: S506  a SafeLoader
    except yaml.YAMLError as cause:
        raise ParamsError(f"override {text!r}: no YAML value: {' '.join(str(cause).split())}") from cause


def overridden(content: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the params in `content` with other values under some keys, which are dotted paths.

    A key may be new, for it may have a default; whoever reads the group refuses what its class does not know.

    Raises:
        ParamsError: a path leads through something that is no group.
    """
    result = copy.deepcopy(dict(content))
    for key, value in overrides.items():
        *groups, name = key.split(".")
        place: Any = result
        for depth, group in enumerate(groups):
            place = place.get(group)
            if not isinstance(place, dict):
                raise ParamsError(f"override {key!r}: no group {'.'.join(groups[: depth + 1])!r} in the params")
        place[name] = value
    return result


class _StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader, but a key that stands twice in a mapping is an error: the first value would be lost."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._flattened: set[int] = set()  # a node that several mappings merge is flattened several times

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge `<<` keys into `node`, whose own keys are still as the file has them."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := [key for key in keys if keys.count(key) > 1 and id(node) not in self._flattened]:
            raise yaml.constructor.ConstructorError(None, None, f"key {twice[0]!r} stands twice", node.start_mark)
        self._flattened.add(id(node))
        super().flatten_mapping(node)


def _describe(fault: Any, where: str) -> str:
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        return f"{where}: unknown key {key!r}"
    if fault["type"] in {"missing", "missing_argument", "missing_keyword_only_argument"}:
        return f"{where}: missing key {key!r}"
    if fault["type"] == "value_error":  # our own checks name the key themselves
        return f"{where}{'.' + key if key else ''}: {fault['ctx']['error']}"
    return f"{where}{'.' + key if key else ''}: {fault['msg']}, got {fault['input']!r}"
