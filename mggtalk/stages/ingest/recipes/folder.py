"""Recipes of kind `folder`: every file below a folder is an input. Nothing there is passed over in silence."""

import os
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import Field

from mggtalk.config import config
from mggtalk.errors import RecipeError
from mggtalk.records import Split
from mggtalk.stages.ingest.items import IngestItem, printable
from mggtalk.stages.ingest.recipes.files import RecipeContext, locate
from mggtalk.stages.ingest.recipes.folder_inputs import files_below, read_labels


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
        folder = locate(context.recipe_path, "path", self.path, Path.is_dir)
        labels_path = locate(context.recipe_path, "labels", self.labels, Path.is_file) if self.labels else None
        labels = read_labels(labels_path) if labels_path else {}
        terms_path = context.recipe_path.parent / self.terms if self.terms else None
        own = {os.path.realpath(path) for path in (labels_path, terms_path, context.recipe_path) if path}
        paths = {
            path.relative_to(folder).as_posix() for path in files_below(folder) if os.path.realpath(path) not in own
        }
        if not paths:  # a disk that is not mounted, say
            raise RecipeError(f"{context.recipe_path}: path: no videos in {folder}: it holds no files")
        labels = _in_the_form_of(paths, labels)
        for name in sorted(paths | labels.keys(), key=printable):
            label = labels.get(name, {})
            yield IngestItem(
                path=str(folder / name),
                name=printable(name),
                identity=label.get("identity", ""),
                license=label.get("license") or self.license,
            )


def _in_the_form_of(paths: set[str], labels: Mapping[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Return the labels under the names that the files have.

    One system writes an accented letter as one character, another as two: a table made on one, of files that
    came from the other, names them all the same.
    """
    by_form = {unicodedata.normalize("NFC", path): path for path in paths}
    return {
        name if name in paths else by_form.get(unicodedata.normalize("NFC", name), name): label
        for name, label in labels.items()
    }
