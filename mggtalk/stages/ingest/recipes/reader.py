"""Recipes: `datasets/NAME/recipe.yaml` says where the videos of a data set are, whose they are and under which licence.

kind: folder      every file below a folder; a CSV file may name identities and licences
kind: csv         a table of videos, of intervals of them, or of faces in them; files or URLs
kind: published   HDTF, VFHQ or CelebV-HQ, as their authors publish them
kind: wheel       members of a Python wheel, pinned by its hash
"""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from mggtalk.config import load_yaml_mapping, validate
from mggtalk.errors import RecipeError
from mggtalk.stages.ingest.items import UNKNOWN_IDENTITY, IngestItem
from mggtalk.stages.ingest.recipes.csv import CsvRecipe
from mggtalk.stages.ingest.recipes.files import Recipe, RecipeContext, path_exists
from mggtalk.stages.ingest.recipes.folder import FolderRecipe
from mggtalk.stages.ingest.recipes.published import PublishedRecipe
from mggtalk.stages.ingest.recipes.wheel import WheelRecipe

_KINDS: dict[str, type[FolderRecipe] | type[CsvRecipe] | type[PublishedRecipe] | type[WheelRecipe]] = {
    "folder": FolderRecipe,
    "csv": CsvRecipe,
    "published": PublishedRecipe,
    "wheel": WheelRecipe,
}


def read_recipe(path: Path) -> Recipe:
    """Return the recipe in a file.

    Raises:
        RecipeError: it is missing, of an unknown kind, or has an unknown or wrong key; the message names the key.
    """
    values = load_yaml_mapping(path, RecipeError)
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise RecipeError(f"{path}: kind: got {kind!r}; expected one of {', '.join(_KINDS)}")
    recipe: Recipe = validate(values, _KINDS[kind], where=str(path), error=RecipeError)
    if recipe.terms and not path_exists(path.parent / recipe.terms, Path.is_file, f"{path}: terms"):
        raise RecipeError(f"{path}: terms: no such file beside the recipe: {recipe.terms}")
    return recipe


def load_items(recipe_path: Path, media_directory: Path) -> tuple[IngestItem, ...]:
    """Return every input of a recipe, sorted by name, the media of archives in place.

    Raises:
        RecipeError: the recipe cannot be used. WeightsError: its archive cannot be had.
    """
    return recipe_items(read_recipe(recipe_path), RecipeContext(recipe_path, media_directory))


def recipe_items(recipe: Recipe, context: RecipeContext) -> tuple[IngestItem, ...]:
    """Return every input of `recipe`, with the part of the data set that it states for it or for its identity.

    Raises:
        RecipeError: as `Recipe.items`, or `splits` names an identity that no input has.
    """
    items = tuple(recipe.items(context))
    if unknown := recipe.splits.keys() - {item.identity for item in items}:
        is_unlabelled = any(name.startswith(UNKNOWN_IDENTITY) for name in unknown)
        hint = "; a video without a label needs one to be named here" if is_unlabelled else ""
        raise RecipeError(
            f"{context.recipe_path}: splits: no input has the identity {', '.join(sorted(unknown))}{hint}"
        )
    return tuple(replace(item, split=item.split or recipe.splits.get(item.identity)) for item in items)


def prune_media(media_directory: Path, items: Iterable[IngestItem]) -> list[Path]:
    """Delete the media that recipes of before took out of archives or downloaded, and return their paths, sorted.

    Whoever takes a video out of a recipe, its person perhaps, wants it out of what is stored and pushed.

    Args:
        items: of the recipe that holds; their files stay.
    """
    if not media_directory.is_dir():
        return []
    named = {os.path.realpath(item.path) for item in items}
    stale = [path for path in sorted(media_directory.iterdir()) if os.path.realpath(path) not in named]
    pruned = [path for path in stale if path.is_symlink() or path.is_file()]
    for path in pruned:
        path.unlink()
    return pruned
