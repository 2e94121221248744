"""Reads parameters: the defaults of the config classes, under params files, under `-S KEY=VALUE` of the command line.

Each component owns its configuration: a frozen dataclass made with `mggtalk.config.config`, one group a stage. A params
file states only what differs from the defaults. One that begins with `base: FILE` states what differs from that file.
"""

import copy
import os.path
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from mggtalk.config import (
    ConfigT,
    check_plain,
    dotted_keys,
    field_docs,
    load_yaml_mapping,
    parse_yaml,
    plain_values,
    validate,
)
from mggtalk.errors import ParamsError

GROUPS: Mapping[str, str] = {
    "ingest": "mggtalk.stages.ingest.config:IngestConfig",
    "track": "mggtalk.stages.track.config:TrackConfig",
    "shards": "mggtalk.stages.shards.config:ShardsConfig",
    "train": "mggtalk.training.config:TrainConfig",
    "evaluate": "mggtalk.evaluation.config:EvaluateConfig",
}
"""The groups of a params file, one a stage, with their classes by name: a stage imports no class but its own."""

RENAMED: Mapping[str, str] = {
    "shards.min_head_share": "shards.min_head_fraction",
    "shards.source_every": "shards.geometry_stride",
    "train.average_decay": "train.ema_decay",
    "train.coarse_share": "train.coarse_fraction",
    "train.coarse_steps": "train.coarse_fraction",
    "train.geometry_share": "train.geometry_fraction",
    "train.loss.squared": "train.loss.mse",
    "train.model.num_landmarks": "train.model.landmark_set",
    "train.on_damage": "train.on_corrupt_sample",
}
"""What keys of earlier versions have become."""

_BASE = "base"


@dataclass(frozen=True, slots=True)
class Params:
    """The parameters of a run, as files and command line state them; what they leave out has its default.

    Attributes:
        path: of the params file.
        content: all that is stated, by group.
        origins: where each value is stated, by its dotted key: a file, or `-S`.
        overrides: the values of `-S`, by dotted keys.
        label: appended to the path in messages.
    """

    path: Path
    content: Mapping[str, Any] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""

    @classmethod
    def load(cls, path: Path, overrides: Sequence[str] = ()) -> "Params":
        """Return what `path` and its bases state, with `overrides` (`KEY=VALUE`) on top.

        Raises:
            ParamsError: a file is missing or is no YAML mapping, bases form a cycle, a key has an old name, or an
                override is none or has an unknown key.
        """
        params = cls(path)
        for file, content in reversed(list(_layers(path))):
            params = params._over(content, str(file))
        values = dict(map(parse_override, overrides))
        for key in values:
            _refuse_renamed([key], "override")
            _refuse_unknown(key)
        return params.changed(values)

    def changed(self, overrides: Mapping[str, Any], label: str = "") -> "Params":
        """Return these parameters with other values under some dotted keys.

        Raises:
            ParamsError: as `overridden`.
        """
        return replace(
            self,
            content=overridden(self.content, overrides),
            origins={**self.origins, **{key: "-S" for name in overrides for key in dotted_keys(overrides[name], name)}},
            overrides={**self.overrides, **overrides},
            label=label or self.label,
        )

    def group(self, name: str, cls: type[ConfigT]) -> ConfigT:
        """Return the group `name` as `cls`.

        Raises:
            ParamsError: the group does not fit `cls`, or there are groups that no stage has.
        """
        return read_group(self.content, name, cls, str(self))

    def resolved(self) -> dict[str, dict[str, Any]]:
        """Return every value of every group, defaults included, as plain YAML content.

        Raises:
            ParamsError: a group does not fit its class.
        """
        return {name: plain_values(self.group(name, config_class(name))) for name in GROUPS}

    def origin(self, key: str) -> str:
        """Return where the value of a dotted key comes from: a file, `-S`, or `default`."""
        return self.origins.get(key, "default")

    def __str__(self) -> str:
        return f"{self.path}, {self.label}" if self.label else str(self.path)

    def _over(self, content: Mapping[str, Any], origin: str) -> "Params":
        keys = list(dotted_keys(content))
        _refuse_renamed(keys, origin)
        return replace(
            self, content=_merged(self.content, content), origins={**self.origins, **dict.fromkeys(keys, origin)}
        )


def config_class(group: str) -> type[Any]:
    """Import and return the config class of a group."""
    module, name = GROUPS[group].split(":")
    cls: type[Any] = getattr(import_module(module), name)
    return cls


def load_group(params: Params | Path, group: str, cls: type[ConfigT]) -> ConfigT:
    """Return the group `group` of the parameters, or of the params file, as `cls`.

    Raises:
        ParamsError: as `Params.load` and `Params.group`.
    """
    return (params if isinstance(params, Params) else Params.load(params)).group(group, cls)


def read_group(content: Mapping[str, Any], group: str, cls: type[ConfigT], where: str) -> ConfigT:
    """Return the group `group` of the params in `content` as `cls`; `where` is what messages call the params.

    Raises:
        ParamsError: as `Params.group`.
    """
    if strangers := set(content) - {*GROUPS, group}:
        raise ParamsError(f"{where}: unknown key {', '.join(repr(name) for name in sorted(map(str, strangers)))}")
    return validate(content.get(group, {}), cls, where=f"{where}: {group}")


def parse_override(text: str) -> tuple[str, Any]:
    """Return the key and the value of `KEY=VALUE`, such as `train.steps=200`; the value is read as YAML.

    Raises:
        ParamsError: it is not of this form.
    """
    key, equals, value = text.partition("=")
    if not (equals and all(key.split("."))):
        raise ParamsError(f"override: expected KEY=VALUE, such as train.steps=200, got {text!r}")
    try:
        parsed = parse_yaml(value)
    except yaml.YAMLError as cause:
        raise ParamsError(f"override {text!r}: no YAML value: {' '.join(str(cause).split())}") from cause
    check_plain(parsed, f"override {text!r}")
    return key, parsed


def overridden(content: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the params in `content` with other values under some keys, which are dotted paths.

    A key may be new, because it may have a default; whoever reads the group refuses keys that its class does not know.

    Raises:
        ParamsError: a path leads through a value that is no group.
    """
    result = copy.deepcopy(dict(content))
    for key, value in overrides.items():
        *groups, name = key.split(".")
        inner: Any = result
        for depth, group in enumerate(groups):
            if depth or group in GROUPS:
                inner.setdefault(group, {})
            inner = inner.get(group)
            if not isinstance(inner, dict):
                raise ParamsError(f"override {key!r}: no group {'.'.join(groups[: depth + 1])!r} in the params")
        inner[name] = _merged(inner[name], value) if _are_mappings(inner.get(name), value) else copy.deepcopy(value)
    return result


def _layers(path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the params file `path`, its base, the base of that, and so on, each with its content."""
    chain: list[Path] = []
    while True:
        content = load_yaml_mapping(path, ParamsError)
        check_plain(content, str(path))
        chain.append(path)
        base = content.pop(_BASE, None)
        yield path, content
        if base is None:
            return
        if not isinstance(base, str):
            raise ParamsError(f"{path}: {_BASE}: expected the path of a params file, got {base!r}")
        child, path = path, Path(os.path.normpath(path.parent / base))
        if path.resolve() in [file.resolve() for file in chain]:
            raise ParamsError(f"{child}: {_BASE}: a cycle: {' -> '.join(map(str, [*chain, path]))}")
        if not path.is_file():
            raise ParamsError(f"{child}: {_BASE}: {path}: no such file")


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `under` with what `over` states on top; mappings in both merge."""
    merged = {**under}
    for key, value in over.items():
        merged[key] = _merged(merged[key], value) if _are_mappings(merged.get(key), value) else value
    return merged


def _are_mappings(*values: object) -> bool:
    return all(isinstance(value, Mapping) for value in values)


def _refuse_renamed(keys: Iterable[str], where: str) -> None:
    if old := [key for key in keys if key in RENAMED]:
        raise ParamsError(f"{where}: {'; '.join(f'{key!r} has become {RENAMED[key]!r}' for key in old)}")


def _refuse_unknown(key: str) -> None:
    """Refuse an override that no stage reads; the stage that runs may not read its group at all."""
    group, _, name = key.partition(".")
    known = [f"{group}.{inner}" for inner in field_docs(config_class(group))] if group in GROUPS else list(GROUPS)
    if key not in known and (name or group not in GROUPS):
        close = get_close_matches(key, known, 1)
        raise ParamsError(f"override: unknown key {key!r}{f'; did you mean {close[0]!r}?' if close else ''}")
