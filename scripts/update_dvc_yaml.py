"""Writes the code that each stage runs into its dependencies in `dvc.yaml`.

    python -m scripts.update_dvc_yaml

Folders stand for all modules in them, unless they hold packages: then each module that the stage imports is named.
Dependencies outside the code (artifacts, recipes) are kept as they are.
"""

import io
from functools import cache
from pathlib import Path, PurePosixPath

from ruamel.yaml import YAML

from mggtalk.fingerprint import PROJECT_PACKAGES, PROJECT_ROOT, data_files, import_closure, source_file

DVC_FILE = PROJECT_ROOT / "dvc.yaml"


def updated(text: str, root: Path = PROJECT_ROOT) -> str:
    """Return the content of `dvc.yaml` with dependencies that follow from the imports; comments stay."""
    yaml = YAML()
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    content = yaml.load(text)
    for name, stage in content["stages"].items():
        kept = [dep for dep in stage["deps"] if PurePosixPath(dep).parts[0] not in PROJECT_PACKAGES]
        stage["deps"] = kept + code_dependencies(f"pipelines.{name}", root)
    stream = io.StringIO()
    yaml.dump(content, stream)
    return stream.getvalue()


def code_dependencies(module: str, root: Path = PROJECT_ROOT) -> list[str]:
    """Return the files and folders of the project that `module` runs, as sorted paths below `root`."""
    return sorted({entry for name in import_closure(module, root) for entry in _entries(name, root)})


@cache
def _entries(module: str, root: Path) -> frozenset[str]:
    files = (source_file(module, root), *data_files(module, root))
    return frozenset(_entry(path.relative_to(root), root) for path in files)


def _entry(path: Path, root: Path) -> str:
    """Return the largest folder around `path` that is a package without packages in it, else `path` itself."""
    folder = path.parent
    while not (root / folder / "__init__.py").is_file():
        folder = folder.parent
    has_packages = any((root / folder).glob("*/__init__.py"))
    return (path if has_packages or len(folder.parts) == 1 else folder).as_posix()


if __name__ == "__main__":
    DVC_FILE.write_text(updated(DVC_FILE.read_text()))
