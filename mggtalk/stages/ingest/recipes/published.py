"""Recipes of kind `published`: clips of a published list, whose videos were brought to a folder by other means."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from mggtalk.config import config
from mggtalk.errors import RecipeError
from mggtalk.records import Split
from mggtalk.stages.ingest.items import IngestItem
from mggtalk.stages.ingest.recipes.files import RecipeContext, VideoRoot, locate
from mggtalk.stages.ingest.recipes.published_lists import LISTS


@config
class PublishedRecipe:
    """A list as its authors publish it.

    Attributes:
        layout: whose list it is. annotations: its folder or file, unchanged; relative to the recipe's folder or else to
            the working directory.
        root: the folder of the videos, found likewise: `VIDEO.mp4`, or another of the usual suffixes.
        license, terms, splits: as in `FolderRecipe`.
    """

    kind: str
    layout: Literal["hdtf", "vfhq", "celebvhq"]
    annotations: str
    root: str
    license: str = "unknown"
    terms: str | None = None
    splits: dict[str, Split] = Field(default_factory=dict)

    def items(self, context: RecipeContext) -> Iterator[IngestItem]:
        """Yield every input; see `Recipe`."""
        annotations = locate(context.recipe_path, "annotations", self.annotations, Path.exists)
        root = VideoRoot(context.recipe_path, self.root)
        names: set[str] = set()
        for clip in sorted(LISTS[self.layout](annotations), key=lambda clip: clip.name):
            if clip.name in names:
                raise RecipeError(f"{annotations}: the clip {clip.name} is there twice")
            names.add(clip.name)
            if not _is_plain(clip.video) or not _is_plain(clip.name):
                raise RecipeError(f"{annotations}: got the video {clip.video!r} of {clip.name!r}; expected plain names")
            yield IngestItem(
                path=str(root.video(clip.video)),
                name=clip.name,
                identity=clip.identity,
                license=self.license,
                start_s=clip.start_s,
                end_s=clip.end_s,
                box=clip.box,
                box_frame=clip.box_frame,
            )


def _is_plain(name: str) -> bool:
    """Tell whether a name out of a stranger's list can be a file's and leads out of no folder."""
    try:
        name.encode()
    except UnicodeEncodeError:  # half a character, which JSON can hold
        return False
    return "/" not in name and "\0" not in name
