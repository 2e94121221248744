"""Shared by all kinds of recipes: resolves the files that a recipe names."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from mggtalk.errors import RecipeError
from mggtalk.records import Split
from mggtalk.stages.ingest.items import IngestItem
from mggtalk.weights.downloads import extract_members, fetch_distribution

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".m4v", ".avi", ".flv", ".mpg", ".ts")


@dataclass(frozen=True, slots=True)
class RecipeContext:
    """The recipe's own file, and the way to its inputs.

    Attributes:
        recipe_path: the recipe file. media_directory: where media from archives and from the web are put.
        fetch, extract: of archives; see `mggtalk.weights.downloads`.
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

    @property
    def terms(self) -> str | None:
        """A file beside the recipe that states the terms."""
        ...

    def items(self, context: RecipeContext) -> Iterator[IngestItem]:
        """Yield every input, sorted by name.

        Raises:
            RecipeError: the recipe contradicts itself or what it finds; the message names the key.
        """
        ...


def locate(recipe_path: Path, key: str, value: str, exists: Callable[[Path], bool]) -> Path:
    """Return the path `value` of a recipe's `key`: relative to the recipe's folder or else to the working directory.

    Raises:
        RecipeError: it exists in neither.
    """
    candidates = list(dict.fromkeys([recipe_path.parent / value, Path(value)]))
    for candidate in candidates:
        if path_exists(candidate, exists, f"{recipe_path}: {key}"):
            return candidate
    looked = " or ".join(str(candidate) for candidate in candidates)
    raise RecipeError(f"{recipe_path}: {key}: {value!r} not found; looked for {looked}")


def path_exists(path: Path, exists: Callable[[Path], bool], where: str) -> bool:
    """Return `exists(path)`.

    Raises:
        RecipeError: that cannot be known.
    """
    try:
        return exists(path)
    except OSError as cause:  # a name that is too long, a folder that may not be entered
        raise RecipeError(f"{where}: {str(path)!r} cannot be looked up: {cause.strerror}") from cause


class VideoRoot:
    """The folder that holds the videos of a list. It need not be there: then none of them is.

    Args:
        value: of the recipe's key `root`; found as `locate` does.
    """

    def __init__(self, recipe_path: Path, value: str) -> None:
        candidates = [recipe_path.parent / value, Path(value)]
        there = [candidate for candidate in candidates if path_exists(candidate, Path.is_dir, f"{recipe_path}: root")]
        self._folder = there[0] if there else candidates[0]

    def path(self, name: str) -> Path:
        """Return where a file lies, or would lie."""
        return self._folder / name

    def video(self, stem: str) -> Path:
        """Return the video of this name with whichever suffix it has; with `.mp4` if there is none."""
        names = [f"{stem}{suffix}" for suffix in VIDEO_SUFFIXES]
        there = (self._names[name.lower()] for name in names if name.lower() in self._names)
        return self._folder / next(there, names[0])

    @cached_property
    def _names(self) -> dict[str, str]:
        """The files of the folder by their names in lower case, listed once, not for every clip and suffix."""
        if not self._folder.is_dir():
            return {}
        try:
            return {path.name.lower(): path.name for path in sorted(self._folder.iterdir())}
        except OSError as cause:
            raise RecipeError(f"{self._folder}: the folder cannot be read: {cause.strerror}") from cause
