"""Content keys: a result is named by everything that it is a function of, so what is done is known and never mixed up.

A key covers the input's hash, the stage's parameters, the hashes of its models and the digest of its code. What the
code digest cannot see (the versions of libraries) belongs to the caller's parts.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from enum import Enum
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import grimp

import mggtalk

PROJECT_PACKAGES = ("mggtalk", "pipelines")


def content_key(**parts: Any) -> str:
    """Return the SHA-256, in hex, of `parts` as canonical JSON.

    Dataclasses count with their class name and fields, enums by value, paths as text. Order of keywords and of mapping
    keys does not matter; order in lists does.

    Raises:
        TypeError: a part has no canonical JSON form (a set, an array, an arbitrary object).
    """
    canonical = json.dumps(parts, default=_plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def _plain(value: object) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {"__class__": type(value).__qualname__, **fields}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return value.as_posix()
    raise TypeError(f"content_key: {type(value).__name__} has no canonical form: {value!r:.80}")


@cache
def code_digest(module: str) -> str:
    """Return the SHA-256, in hex, over the sources that `module` runs: its import closure inside the project.

    Data files in the folders of these modules (tables, templates) count too: they are read at run time.

    Raises:
        ValueError: no such module in the project.
    """
    root = _project_root()
    digest = hashlib.sha256()
    for path in sorted(_files_of(import_closure(module), root)):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def import_closure(module: str) -> frozenset[str]:
    """Return `module` and every module of the project that it imports, directly or not, with their parent packages.

    Raises:
        ValueError: no such module in the project.
    """
    packages = [name for name in PROJECT_PACKAGES if (_project_root() / name).is_dir()]
    graph = grimp.build_graph(*packages, cache_dir=None)  # a cache folder would lie about in the user's directory
    if module not in graph.modules:
        raise ValueError(f"import closure of {module!r}: no such module in {', '.join(packages)}")
    modules = {module, *graph.find_upstream_modules(module)}
    parents = {name.rsplit(".", depth)[0] for name in modules for depth in range(1, name.count(".") + 1)}
    return frozenset(modules | parents)


def library_versions(*names: str) -> dict[str, str]:
    """Return the installed version of each distribution; `absent` for what is not installed."""
    installed = {name: next(iter(metadata.distributions(name=name)), None) for name in names}
    return {name: found.version if found else "absent" for name, found in installed.items()}


def source_file(module: str, root: Path) -> Path:
    """Return the file under `root` that holds `module`."""
    path = root.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _files_of(modules: Iterable[str], root: Path) -> set[Path]:
    sources = {source_file(module, root) for module in modules}
    data = {path for source in sources for path in source.parent.iterdir() if path.is_file() and path.suffix != ".py"}
    return sources | data


def _project_root() -> Path:
    return Path(mggtalk.__file__).parent.parent
