"""Content keys: name a result by everything that it depends on, so that finished work is found and never mixed up.

A key covers the input's hash, the stage's parameters, the hashes of its models and the digest of its code. The code
digest cannot see the versions of libraries; callers add those as a part of the key.

The code digest is taken from syntax trees. Comments, docstrings, formatting, the order of imports and the place of a
file in the project leave it as it is; any other change to a module, to a data file beside it, or to a module that it
imports changes it.
"""

import ast
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator
from enum import Enum
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

PROJECT_PACKAGES = ("mggtalk", "pipelines")
PROJECT_ROOT = Path(__file__).parent.parent


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
def code_digest(module: str, root: Path = PROJECT_ROOT) -> str:
    """Return the SHA-256, in hex, of the code that `module` runs: its own, and that of its imports in the project.

    Each round folds the digests of a module's imports into its own, as Weisfeiler and Lehman label the nodes of a
    graph. A digest therefore covers imports of imports without naming any file, and import cycles do no harm.

    Args:
        module: dotted name. root: folder that holds the project's packages.

    Raises:
        ValueError: the project has no such module.
    """
    sources = _closure(module, root)
    digests = {name: source.digest for name, source in sources.items()}
    for _ in sources:  # the longest chain of imports is no longer than the number of modules
        digests = {
            name: _sha256(digests[name], *sorted(f"{binding}={digests[target]}" for binding, target in source.imports))
            for name, source in sources.items()
        }
    return digests[module]


def import_closure(module: str, root: Path = PROJECT_ROOT) -> frozenset[str]:
    """Return `module`, every module of the project that it imports, directly or not, and their parent packages.

    Raises:
        ValueError: the project has no such module.
    """
    modules = set(_closure(module, root))
    parents = {name.rsplit(".", depth)[0] for name in modules for depth in range(1, name.count(".") + 1)}
    return frozenset(modules | parents)


def source_file(module: str, root: Path = PROJECT_ROOT) -> Path:
    """Return the file under `root` that holds `module`."""
    path = root.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def data_files(module: str, root: Path = PROJECT_ROOT) -> tuple[Path, ...]:
    """Return the data files that `module` reads: those beside it whose name, or whose folder's name, it mentions."""
    path = source_file(module, root)
    return tuple(sorted(_data_files(path, ast.parse(path.read_bytes()))))


def library_versions(*names: str) -> dict[str, str]:
    """Return the installed version of each distribution; `absent` for what is not installed."""
    installed = {name: next(iter(metadata.distributions(name=name)), None) for name in names}
    return {name: found.version if found else "absent" for name, found in installed.items()}


@dataclasses.dataclass(frozen=True, slots=True)
class _Source:
    """A module as a node of the import graph.

    Attributes:
        digest: SHA-256 of its own code without imports, of what it imports from libraries, and of its data files.
        imports: for each import from the project, the names that it binds, and the module that it comes from.
    """

    digest: str
    imports: tuple[tuple[str, str], ...]


@cache
def _closure(module: str, root: Path) -> dict[str, _Source]:
    """Return `module` and all that it imports inside the project, directly or not."""
    if not source_file(module, root).is_file():
        raise ValueError(f"import closure of {module!r}: no such module in {', '.join(PROJECT_PACKAGES)}")
    sources: dict[str, _Source] = {}
    to_read = [module]
    while to_read:
        if (name := to_read.pop()) not in sources:
            sources[name] = _read_source(source_file(name, root), root)
            to_read += [target for _, target in sources[name].imports]
    return sources


@cache
def _read_source(path: Path, root: Path) -> _Source:
    tree = ast.parse(path.read_bytes())
    inside, outside = [], []
    for binding, target, attribute in _imports(tree):
        if target.split(".")[0] not in PROJECT_PACKAGES:
            outside.append(f"{binding}={target}:{attribute}")
        elif attribute and source_file(f"{target}.{attribute}", root).is_file():
            inside.append((binding, f"{target}.{attribute}"))
        else:
            inside.append((f"{binding}:{attribute}", target))
    data = sorted(f"{file.name}={_sha256(file.read_bytes().hex())}" for file in _data_files(path, tree))
    return _Source(_sha256(json.dumps(_canonical(tree)), *sorted(outside), *data), tuple(inside))


def _imports(tree: ast.AST) -> Iterator[tuple[str, str, str]]:
    """Yield the name that each import binds, the module, and the attribute taken from it (empty: the module itself)."""
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.asname or alias.name, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((alias.asname or alias.name, node.module or "", alias.name) for alias in node.names)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes below `node`, but for what only type checkers run."""
    for child in ast.iter_child_nodes(node):
        if not _is_for_type_checkers(child):
            yield child
            yield from _statements(child)


def _canonical(value: object) -> Any:
    """Return a syntax tree as nested lists, without what changes no result; the same on every version of Python.

    Fields that are empty are left out, because versions of Python differ in which of them there are.
    """
    if isinstance(value, ast.AST):
        fields = [(name, _canonical(field)) for name, field in ast.iter_fields(value) if name != "kind"]
        return [type(value).__name__, *([name, field] for name, field in fields if field not in (None, []))]
    if isinstance(value, list):
        return [_canonical(item) for item in value if not _changes_nothing(item)]
    return None if value is None else [type(value).__name__, repr(value)]


def _changes_nothing(node: object) -> bool:
    """Tell whether a statement is a docstring, `...`, `pass`, for type checkers, or an import (counted elsewhere)."""
    is_constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return is_constant or isinstance(node, ast.Import | ast.ImportFrom | ast.Pass) or _is_for_type_checkers(node)


def _is_for_type_checkers(node: object) -> bool:
    if not (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and not node.orelse):
        return False
    return node.test.id == "TYPE_CHECKING"


def _data_files(source: Path, tree: ast.AST) -> Iterator[Path]:
    """Yield the files beside `source` that a string in it names, alone or by a folder between."""
    strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    for path in _files_beside(source.parent):
        if strings & set(path.relative_to(source.parent).parts):
            yield path


def _files_beside(folder: Path) -> Iterable[Path]:
    """Yield the data files in `folder` and in those of its folders that are no packages."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name != "__pycache__" and not (path / "__init__.py").is_file():
            yield from _files_beside(path)
        elif path.is_file() and path.suffix not in {".py", ".pyc"}:
            yield path


def _sha256(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
