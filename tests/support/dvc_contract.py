"""What `dvc.yaml` has to say about a stage for its reruns to be right, and what it says."""

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from mggtalk.fingerprint import data_files, import_closure, source_file


def uncovered(module: str, deps: Iterable[str], root: Path) -> list[str]:
    """Return the files that `module` runs, as paths below `root`, that no entry of `deps` is or holds.

    These are the sources of its imports inside the project, and the data files beside them.
    """
    modules = import_closure(module)
    sources = {source_file(name, root) for name in modules}
    data = {path for name in modules for path in data_files(name, root)}
    files = {path.relative_to(root).as_posix() for path in sources | data}
    listed = [PurePosixPath(dep) for dep in deps]
    return sorted(name for name in files if not any(PurePosixPath(name).is_relative_to(dep) for dep in listed))


def params_groups(source: str) -> set[str]:
    """Return the groups of the params file that a module reads: the second argument of each `load_group`, or all."""
    groups = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "load_group":
            group = node.args[1]
            assert isinstance(group, ast.Constant), f"line {node.lineno}: a group's name is a literal"
            groups.add(str(group.value))
        if isinstance(node, ast.Attribute) and node.attr == "resolved":  # `Params.resolved`
            groups.add("*")
    return groups


def output_paths(stage: Mapping[str, Any]) -> set[str]:
    """Return the paths that a stage writes."""
    entries = [entry for kind in ("outs", "metrics", "plots") for entry in stage.get(kind, [])]
    return {entry if isinstance(entry, str) else next(iter(entry)) for entry in entries}
