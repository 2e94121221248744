"""Makes configuration classes: frozen dataclasses that plain YAML content is read into strictly.

Unknown keys, wrong types and values out of range are errors that name the key, as is a key that stands twice in a file.
Each field states its default and, in the string below it, its meaning. Pydantic checks; nothing else of it is used.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast, dataclass_transform

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic_core import to_json

from mggtalk.errors import ParamsError

ConfigT = TypeVar("ConfigT")

_SETTINGS = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True)


@dataclass_transform(frozen_default=True)
def config(cls: type[ConfigT]) -> type[ConfigT]:
    """Make `cls` a frozen dataclass that refuses unknown keys and wrong types."""
    made: Any = pydantic_dataclass(frozen=True, config=_SETTINGS)(cls)
    return cast("type[ConfigT]", made)


def field_docs(cls: type[Any]) -> dict[str, str]:
    """Return the line below each field of the config class `cls` by its dotted key, classes within it included."""
    return dict(_field_docs(cls, ""))


def _field_docs(cls: type[Any], prefix: str) -> Iterator[tuple[str, str]]:
    for name, field in cls.__pydantic_fields__.items():
        yield f"{prefix}{name}", field.description or ""
        if hasattr(field.annotation, "__pydantic_fields__"):
            yield from _field_docs(field.annotation, f"{prefix}{name}.")


def plain_values(settings: object) -> dict[str, Any]:
    """Return the fields of an instance of a config class as plain YAML content, in the order of the class."""
    values: dict[str, Any] = TypeAdapter(type(settings)).dump_python(settings, mode="json")
    return values


def load_yaml_mapping(path: Path, error: type[Exception]) -> dict[str, Any]:
    """Return the YAML mapping in `path`.

    Raises:
        error: the file is missing, is not valid YAML, or holds no mapping.
    """
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as cause:
        raise error(f"{path}: cannot be read as YAML: {' '.join(str(cause).split())}") from cause
    if not isinstance(content, dict):
        raise error(f"{path}: expected a mapping of keys, got {type(content).__name__}")
    return content


def parse_yaml(text: str) -> Any:
    """Return the content of a YAML document.

    Raises:
        yaml.YAMLError: it is not valid, or a key stands twice in a mapping.
    """
    return yaml.load(text, _StrictLoader)  # noqa: S506  a SafeLoader


def dotted_keys(values: object, prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys of all values below a mapping, and of the mappings themselves."""
    if prefix:
        yield prefix
    if isinstance(values, Mapping):
        for key, inner in values.items():
            yield from dotted_keys(inner, f"{prefix}.{key}" if prefix else str(key))


def validate(
    values: object, cls: type[ConfigT], where: str, error: type[Exception] = ParamsError, *, complete: bool = False
) -> ConfigT:
    """Return `values` (plain YAML content) as an instance of the config class `cls`.

    Args:
        where: what to call the content in messages, such as `params.yaml: track`.
        complete: refuse content that leaves a key to its default.

    Raises:
        error: one line that names every key at fault, what it got and what was expected.
    """
    plain = _as_json(values, where, error)
    try:
        settings = TypeAdapter(cls).validate_json(plain, strict=True)
    except ValidationError as cause:
        faults = [_describe(fault, where) for fault in cause.errors(include_url=False)]
        raise error("; ".join(faults)) from None
    if complete and (missing := [key for key in field_docs(cls) if key not in set(dotted_keys(values))]):
        raise error("; ".join(f"{where}: missing key {key!r}" for key in missing))
    return settings


def check_plain(values: object, where: str, error: type[Exception] = ParamsError) -> None:
    """Check that YAML content is a tree.

    Raises:
        error: an anchor contains itself.
    """
    _as_json(values, where, error)


def _as_json(values: object, where: str, error: type[Exception]) -> bytes:
    try:
        return to_json(values, fallback=str)
    except ValueError as cause:
        raise error(f"{where}: no plain values: {' '.join(str(cause).split())}") from None


class _StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader, but a key that stands twice in a mapping is an error: the first value would be lost.

    It also reads `1e-3` as a number, as YAML 1.2, JSON and DVC do.
    """

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


_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _describe(fault: Any, where: str) -> str:
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        return f"{where}: unknown key {key!r}"
    if fault["type"] in {"missing", "missing_argument", "missing_keyword_only_argument"}:
        return f"{where}: missing key {key!r}"
    if fault["type"] == "value_error":  # our own checks name the key themselves
        return f"{where}{'.' + key if key else ''}: {fault['ctx']['error']}"
    return f"{where}{'.' + key if key else ''}: {fault['msg']}, got {fault['input']!r}"
