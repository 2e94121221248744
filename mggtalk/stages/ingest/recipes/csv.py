"""Recipes of kind `csv`: a table of one's own, in which each row names a video, an interval of it, or a face in it."""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import Field

from mggtalk.config import config
from mggtalk.errors import RecipeError
from mggtalk.records import Split
from mggtalk.stages.ingest.items import LONGEST_S, IngestItem, interval_name
from mggtalk.stages.ingest.recipes.csv_tables import Row, finite_number, read_csv
from mggtalk.stages.ingest.recipes.face_boxes import BoxOrder, is_box, ordered_box
from mggtalk.stages.ingest.recipes.files import RecipeContext, VideoRoot, locate, path_exists
from mggtalk.stages.ingest.splits import StatedInterval, split_conflict
from mggtalk.weights.web_answers import is_web_url

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,5}")
_SHA256 = re.compile("[0-9a-f]{64}")


@config
class CsvColumns:
    """Names the columns of the table; only `video` has to be there.

    Attributes:
        video: a file, a URL, or the part that `file` and `url` of the recipe complete to one.
        start, end: of the interval; an empty cell is the start, or the end, of the video.
        fps: of the video, if they are frames.
        box: of the main face: one column with four numbers, or four columns. An empty cell is no box.
        name: for people, unique. sha256: of the file.
    """

    video: str
    start: str | None = None
    end: str | None = None
    fps: str | None = None
    box: str | list[str] | None = None
    identity: str | None = None
    license: str | None = None
    split: str | None = None
    name: str | None = None
    sha256: str | None = None

    @property
    def box_columns(self) -> list[str]:
        """The columns of the box."""
        return [self.box] if isinstance(self.box, str) else self.box or []

    @property
    def all(self) -> list[str]:
        """Every column that has to be in the table."""
        single = [self.video, self.start, self.end, self.fps, self.identity, self.license, self.split, self.name]
        return [name for name in (*single, self.sha256, *self.box_columns) if name]


@config
class CsvRecipe:
    """A table of videos, of intervals of videos, or of faces in them.

    Attributes:
        table: the CSV file, relative to the recipe's folder or else to the working directory.
        columns: their names. delimiter: between them.
        root: the folder of the files, found as the table is. file: a file's name, with `{video}` for the cell.
        url: where videos are fetched from that are not in `root`, with `{video}` for the cell.
        max_mb: the largest file that is downloaded.
        time: whether `start` and `end` are seconds (or hh:mm:ss), or frames, of which `end` is the first that is out.
        fps: of all videos, if they are frames and no column says it.
        box_order, box_unit: of the four numbers of a box.
        license, terms, splits: as in `FolderRecipe`.
    """

    kind: str
    table: str
    columns: CsvColumns
    delimiter: Literal[",", ";", "|", "\t"] = ","
    root: str = "."
    file: str = "{video}"
    url: str | None = None
    max_mb: float = Field(default=4096.0, gt=0)
    time: Literal["seconds", "frames"] = "seconds"
    fps: float | None = Field(default=None, gt=0)
    box_order: BoxOrder | None = None
    box_unit: Literal["pixels", "fractions"] = "pixels"
    license: str = "unknown"
    terms: str | None = None
    splits: dict[str, Split] = Field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that the keys fit together.

        Raises:
            ValueError: they do not; the message names the key.
        """
        if self.columns.box_columns and self.box_order is None:
            raise ValueError("box_order: missing; columns.box needs it")
        if len(self.columns.box_columns) not in {0, 1, 4}:
            raise ValueError(f"columns.box: got {len(self.columns.box_columns)} columns; expected one or four")
        if self.time == "frames" and self.fps is None and self.columns.fps is None:
            raise ValueError("time: frames need fps or columns.fps")
        for key, template in (("file", self.file), ("url", self.url)):
            if template is not None and "{video}" not in template:
                raise ValueError(f"{key}: got {template!r}; expected '{{video}}' in it")
        if self.url is not None and not is_web_url(self.url):
            raise ValueError(f"url: got {self.url!r}; expected http:// or https://")

    def items(self, context: RecipeContext) -> Iterator[IngestItem]:
        """Yield every input; see `Recipe`."""
        table = locate(context.recipe_path, "table", self.table, Path.is_file)
        root = VideoRoot(context.recipe_path, self.root)
        rows = list(read_csv(table, needed=self.columns.all, delimiter=self.delimiter))
        if not rows:
            raise RecipeError(f"{table}: no rows below the header")
        items = [self._item(row, root, context.media_directory) for row in rows]
        _check_splits(items, rows)
        yield from sorted(_with_names_of_their_own(items), key=lambda item: item.name)

    def _item(self, row: Row, root: VideoRoot, media: Path) -> IngestItem:
        start_s, end_s = self._interval(row)
        split = row.text(self.columns.split)
        if split and split not in set(Split):
            raise row.fault(str(self.columns.split), "train, val or test")
        sha256 = row.text(self.columns.sha256).lower()
        if sha256 and not _SHA256.fullmatch(sha256):
            raise row.fault(str(self.columns.sha256), "64 hexadecimal digits")
        box = self._box(row)
        source = self._source(row, root, media, sha256)
        return replace(
            source,
            name=row.text(self.columns.name) or interval_name(source.name, start_s, end_s),
            identity=row.text(self.columns.identity),
            license=row.text(self.columns.license) or self.license,
            split=Split(split) if split else None,
            start_s=start_s,
            end_s=end_s,
            box=box,
            box_frame=(1.0, 1.0) if box and self.box_unit == "fractions" else (),
        )

    def _source(self, row: Row, root: VideoRoot, media: Path, sha256: str) -> IngestItem:
        """Return the input with nothing but its file."""
        video = row.text(self.columns.video)
        if not video or "\0" in video or (_SCHEME.match(video) and not is_web_url(video)):
            raise row.fault(self.columns.video, "a file, or a URL of http or https")
        if is_web_url(video):
            return _download(video, _shown(video), media, sha256, self.max_mb)
        path = root.path(self.file.replace("{video}", video))
        if self.url is None or path_exists(path, Path.is_file, f"{row.where}: column {self.columns.video!r}"):
            return IngestItem(path=str(path), name=video, sha256=sha256)
        return _download(self.url.replace("{video}", quote(video)), video, media, sha256, self.max_mb)

    def _interval(self, row: Row) -> tuple[float, float]:
        start_s, end_s = 0.0, math.inf
        start, end = self.columns.start, self.columns.end
        if start and row.text(start):
            start_s = self._time(row, start)
        if end and row.text(end):
            end_s = self._time(row, end)
        if end and end_s <= start_s:
            raise row.fault(end, f"more than the start, {start_s:g} s")
        return start_s, end_s

    def _time(self, row: Row, column: str) -> float:
        if self.time == "seconds":
            return row.seconds(column)
        frame = row.number(column)
        if frame < 0 or frame != int(frame):
            raise row.fault(column, "the number of a frame")
        fps = row.number(self.columns.fps) if self.columns.fps and row.text(self.columns.fps) else self.fps
        if fps is None or fps <= 0:
            raise row.fault(str(self.columns.fps), "frames a second")
        if frame / fps >= LONGEST_S:
            raise row.fault(column, "the number of a frame")
        return frame / fps

    def _box(self, row: Row) -> tuple[float, ...]:
        columns = self.columns.box_columns
        cells = [row.text(column) for column in columns]
        if self.box_order is None or not any(cells):
            return ()
        if len(columns) == 1:
            cells = cells[0].strip("[]()").replace(",", " ").split()
        numbers = [number for cell in cells if (number := finite_number(cell)) is not None]
        box = ordered_box(numbers, self.box_order) if len(numbers) == len(cells) == 4 else ()
        if not box or not is_box(box):
            got = ", ".join(cells)
            raise RecipeError(
                f"{row.where}: column {', '.join(map(repr, columns))}: got {got!r}; expected four numbers, "
                f"{self.box_order}, of a box with an area"
            )
        return box


def _shown(url: str) -> str:
    """Return a URL without its parts that may hold a password or a token."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _download(url: str, name: str, media: Path, sha256: str, max_mb: float) -> IngestItem:
    """Return an input that is fetched: its file is named after everything that decides its content."""
    suffix = PurePosixPath(urlsplit(url).path).suffix
    digits = hashlib.sha256(f"{url}\n{sha256}".encode()).hexdigest()[:16]
    path = media / f"{digits}{suffix if _SUFFIX.fullmatch(suffix) else ''}"
    return IngestItem(path=str(path), name=name, url=url, sha256=sha256, max_bytes=int(max_mb * 1e6))


def _with_names_of_their_own(items: list[IngestItem]) -> Iterator[IngestItem]:
    """Yield the items; where several have one name (two faces at one time, a row that is there twice), number them."""
    taken = {item.name for item in items}
    seen: Counter[str] = Counter()
    for item in items:
        seen[item.name] += 1
        name = item.name
        while seen[item.name] > 1 and name in taken:
            name = f"{item.name}#{seen[item.name]}"
            seen[item.name] += name in taken
        taken.add(name)
        yield replace(item, name=name)


def _check_splits(items: list[IngestItem], rows: list[Row]) -> None:
    conflict = split_conflict(
        StatedInterval(item.path, item.start_s, item.end_s, item.split, f"line {row.line}")
        for item, row in zip(items, rows, strict=True)
    )
    if conflict:
        one, other = conflict
        raise RecipeError(
            f"{rows[0].path}: {one.where} and {other.where}: intervals of one video overlap, but their splits differ"
        )
