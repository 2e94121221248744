"""Recipes on the spot."""

from pathlib import Path

import yaml

from mggtalk.stages.ingest.items import IngestItem
from mggtalk.stages.ingest.recipes.reader import load_items


def recipe_file(folder: Path, **content: object) -> Path:
    """Write a recipe into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def csv_items(folder: Path, table: str | bytes, columns: dict[str, object], **keys: object) -> list[IngestItem]:
    """Return the inputs of a recipe of kind `csv` in `folder`, whose media go to `media` in it."""
    content = table.encode() if isinstance(table, str) else table
    recipe = recipe_file(folder, kind="csv", table="list.csv", columns=columns, **keys)
    (folder / "list.csv").write_bytes(content)
    return list(load_items(recipe, folder / "media"))
